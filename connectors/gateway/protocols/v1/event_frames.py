"""Events of a thread as `/v1` streams them: `event` is the type without `cauce.`, `data` the event's own JSON.

Pieces of an answer are `message.delta` with `offset` and `text`; `tool.result` is a tool's result as soon as the model reads it,
before its event. The id of a frame says how far its reader is, also in the
middle of an answer (`Position`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from pydantic.main import IncEx

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.problems import Problem
from connectors.gateway.sse import EventStream, FrameReader, frame
from core.following.feed import TextPiece
from core.following.position import Position, RunEnd
from core.principal import Principal
from schemas import MessageAdded, ThreadEvent, ToolFinished

_dumps = json.JSONEncoder(ensure_ascii=False).encode
_RESULT = {"run_id", "call_id", "name", "status", "content"}


def event_stream(
    core: GatewayCore,
    caller: Principal,
    thread_id: str,
    position: Position,
    *,
    until: RunEnd | None = None,
    on_end: Callable[[str | None], None] | None = None,
) -> EventStream:
    """The response that follows a thread, or one run of it, after a position. `on_end` is of a stream that is counted already."""
    return EventStream(
        EventFrames(position, until=until).frames(core.stream(caller, thread_id).items(position.seq)),
        on_error=error_frame,
        slow_seconds=core.options.slow_seconds,
        on_end=on_end or core.count_stream(caller),
    )


class EventFrames(FrameReader):
    """Every kind of event, as it is. Without `until` of all runs and without end."""

    def __init__(self, position: Position, *, until: RunEnd | None = None) -> None:
        super().__init__(seq=position.seq, until=until)
        self._skip = (position.message_id, position.offset)
        self._said: set[str] = set()
        """Complete messages; late pieces of them are ignored."""

    def dispatch(self, event: ThreadEvent) -> Iterable[bytes]:
        """Frames of the events of the followed run, or of all runs."""
        if isinstance(event, MessageAdded):
            self._said.add(event.message.message_id)
        if self._is_followed(event.run_id):
            data = event.model_dump_json(exclude_none=True, exclude=_ours(event))
            yield frame(event.TYPE.removeprefix("cauce."), data, position=str(event.seq))

    def on_early_result(self, event: ToolFinished) -> Iterable[bytes]:
        """Without a position: its event comes later."""
        if self._is_followed(event.run_id):
            yield frame("tool.result", event.model_dump_json(include=_RESULT))

    def on_text(self, piece: TextPiece) -> Iterable[bytes]:
        """What of it the reader has not seen."""
        fresh = _after(piece, self._skip)
        if fresh and self._is_followed(piece.run_id) and piece.message_id not in self._said:
            yield _delta(fresh, self.seq)

    def closing(self) -> Iterable[bytes]:
        """The end."""
        yield frame("end", "null")

    def _is_followed(self, run_id: str) -> bool:
        return self.until is None or run_id == self.until.run_id


def _ours(event: ThreadEvent) -> IncEx:
    """What is nothing for clients: also what a provider wants back with a message."""
    left_out: dict[str, IncEx | bool] = {"message": {"provider"}}
    return left_out | dict.fromkeys(event.INTERNAL, True)


def error_frame(problem: Problem) -> bytes:
    """The last frame of a stream that cannot continue."""
    body = {"code": problem.code, "detail": problem.detail, "status": problem.status}
    return frame("error", _dumps(body))


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
