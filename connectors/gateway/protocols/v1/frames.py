"""Events of a thread as `/v1` streams them: `event` is the type without `cauce.`, `data` the event's own JSON.

Pieces of an answer are `message.delta` with `offset` and `text`; `tool.result` is a tool's result as soon as the model reads it,
before its event. The id of a frame says how far its reader is, also in the
middle of an answer (`Position`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from pydantic.main import IncEx

from connectors.gateway.problems import Problem
from connectors.gateway.sse import HEARTBEAT_FRAME, frame
from core.following.feed import EarlyResult, TextPiece
from core.following.position import Position
from core.following.thread_stream import Heartbeat, StreamItem
from schemas import TERMINAL_TYPES, MessageAdded, RunPaused, ThreadChanged, ThreadEvent

_dumps = json.JSONEncoder(ensure_ascii=False).encode
_RESULT = {"run_id", "call_id", "name", "status", "content"}


async def thread_frames(
    items: AsyncIterator[StreamItem],
    position: Position,
    *,
    run_id: str | None = None,
    last_event: int | None = None,
    paused_after: int = 0,
) -> AsyncIterator[bytes]:
    """Frames after a position: of all runs and without end, or of one run until it is over or waits for its user.

    `last_event` is the run's last where it is over already, and who has it gets the end at once: nothing else may ever come
    in its thread. `paused_after` is the event up to which a pause is past.
    """
    seq, skip = position.seq, (position.message_id, position.offset)
    said: set[str] = set()
    if last_event is not None and seq >= last_event:
        yield frame("end", "null")
        return
    async for item in items:
        if isinstance(item, Heartbeat):
            yield HEARTBEAT_FRAME
        elif isinstance(item, EarlyResult):
            if run_id in (None, item.event.run_id):
                yield frame("tool.result", item.event.model_dump_json(include=_RESULT))
        elif isinstance(item, TextPiece):
            piece = _after(item, skip)
            if piece and run_id in (None, item.run_id) and item.message_id not in said:
                yield _delta(piece, seq)
        elif isinstance(item, ThreadEvent):  # pieces of graphs' legs come as text as well
            seq = item.seq
            if isinstance(item, MessageAdded):
                said.add(item.message.message_id)  # pieces that come late say nothing new
            if run_id in (None, item.run_id):
                kind = item.TYPE.removeprefix("cauce.")
                yield frame(kind, item.model_dump_json(exclude_none=True, exclude=_ours(item)), position=str(seq))
            if _is_last(item, run_id, last_event, paused_after):
                yield frame("end", "null")
                return


def _ours(event: ThreadEvent) -> IncEx:
    """What is nothing for clients: also what a provider wants back with a message."""
    left_out: dict[str, IncEx | bool] = {"message": {"provider"}}
    return left_out | dict.fromkeys(event.INTERNAL, True)


def error_frame(problem: Problem) -> bytes:
    """The last frame of a stream that cannot go on."""
    body = {"code": problem.code, "detail": problem.detail, "status": problem.status}
    return frame("error", _dumps(body))


def _is_last(event: ThreadEvent, run_id: str | None, last_event: int | None, paused_after: int) -> bool:
    if isinstance(event, ThreadChanged) and event.action == "delete":
        return True
    if run_id is None:
        return False
    if last_event is not None:
        return event.seq >= last_event
    paused = isinstance(event, RunPaused) and event.seq > paused_after
    return event.run_id == run_id and (event.TYPE in TERMINAL_TYPES or paused)


def _after(piece: TextPiece, skip: tuple[str, int]) -> TextPiece | None:
    """The part of a piece that a reader who had so many characters of the message has not seen."""
    message_id, seen = skip
    if piece.message_id != message_id or piece.offset >= seen:
        return piece
    text = piece.text[seen - piece.offset :]
    return TextPiece(piece.run_id, piece.message_id, piece.attempt, seen, text) if text else None


def _delta(piece: TextPiece, seq: int) -> bytes:
    body = {
        "run_id": piece.run_id,
        "message_id": piece.message_id,
        "attempt": piece.attempt,
        "offset": piece.offset,
        "text": piece.text,
    }
    read = Position(seq, message_id=piece.message_id, offset=piece.offset + len(piece.text))
    return frame("message.delta", _dumps(body), position=str(read))
