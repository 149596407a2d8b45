"""Runs of hosted graphs as the classic run streams have them. Frames are named after stream modes, those of subgraphs with
their namespaces behind: `updates|sub:1`.

Ids of frames are positions, as in `projection.py`; within a leg that is going they name its parts (`LegReader`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from connectors.gateway.protocols.lg.projection import Frame, Items, ends, failure
from connectors.gateway.protocols.lg.shapes import graph_interrupts
from connectors.gateway.protocols.lg.thread_state import dumps
from connectors.gateway.sse import HEARTBEAT_FRAME, frame
from core.following.graph_reader import GraphPieces, LegReader, Part, written
from core.following.position import Position
from core.following.thread_stream import Heartbeat
from schemas import GraphStreamed, RunCancelled, RunFailed, RunPaused, ThreadEvent

StateOf = Callable[[str, tuple[str, ...]], Awaitable[Any]]
"""The values of a checkpoint of a namespace; None where they cannot be read."""

INTERRUPT = "__interrupt__"


class GraphProjection:
    """Frames of one run."""

    def __init__(
        self, run_id: str, modes: Collection[str], *, position: Position, resumable: bool, state_of: StateOf
    ) -> None:
        self._run_id, self._modes, self._resumable = run_id, modes, resumable
        self._position, self._state_of = position, state_of
        self._legs = LegReader(position)
        self._shown: dict[tuple[str, ...], str] = {}
        """The newest state that was read, by namespace."""

    async def frames(
        self, items: Items, *, last_event: int | None = None, paused_after: int = 0
    ) -> AsyncIterator[bytes]:
        """All frames up to the run's end or its next pause; see `v1.frames.thread_frames` for the parameters."""
        yield frame("metadata", dumps({"run_id": self._run_id, "attempt": 1}))
        seq = self._position.seq
        if last_event is not None and seq >= last_event:
            yield frame("end", "null")
            return
        async for item in items:
            if isinstance(item, Heartbeat):
                yield HEARTBEAT_FRAME
            elif isinstance(item, GraphPieces):
                for made in self._pieces(item, seq):
                    yield made
            elif isinstance(item, ThreadEvent):
                async for made in self._told(item):
                    yield made
                seq = item.seq
                if ends(item, self._run_id, last_event, paused_after):
                    yield frame("end", "null")
                    return

    def _pieces(self, item: GraphPieces, seq: int) -> list[bytes]:
        made: list[bytes] = []
        for piece in item.pieces if item.run_id == self._run_id else ():
            if part := self._legs.live(item.leg, piece):
                told = self._part(part, part.data)
                # Of two frames of a piece the first says something cumulative: only the last one's id counts.
                made += [self._frame(*one, None) for one in told[:-1]]
                made += [self._frame(*one, self._legs.at(seq)) for one in told[-1:]]
        return made

    async def _told(self, event: ThreadEvent) -> AsyncIterator[bytes]:
        before = self._legs.at(event.seq - 1)
        made = await self._event(event)
        skip = self._position.sub if event.seq == self._position.seq + 1 else 0
        for n, one in enumerate(made, 1):
            if n > skip:
                yield self._frame(*one, self._legs.at(event.seq) if n == len(made) else replace(before, sub=n))

    def _frame(self, name: str, data: str, position: Position | None) -> bytes:
        return frame(name, data, position=str(position) if position and self._resumable else None)

    async def _event(self, event: ThreadEvent) -> list[Frame]:
        if event.run_id != self._run_id:
            return []
        if isinstance(event, GraphStreamed):
            part = self._legs.stored(event)
            return self._part(part, await self._data(part)) if part else []
        if isinstance(event, RunPaused):
            told = dumps({INTERRUPT: graph_interrupts(event.interrupts)})
            return [(mode, told) for mode in ("updates", "values") if mode in self._modes]
        if isinstance(event, RunFailed | RunCancelled):
            return failure(event)
        return []

    async def _data(self, part: Part) -> Any:
        if part.data is None and part.checkpoint_id and part.mode in self._modes:
            if self._shown.get(part.namespace) == part.checkpoint_id:
                return None  # an interrupt tells the state again
            self._shown[part.namespace] = part.checkpoint_id
            return await self._state_of(part.checkpoint_id, part.namespace)
        return part.data

    def _part(self, part: Part, data: Any) -> list[Frame]:
        if part.mode == "messages":
            made = self._message(part)
        elif part.mode not in self._modes or data is None:
            made = []
        elif not part.namespace and part.mode in ("updates", "values") and asks(data):
            made = []  # it is told with the pause, which is when it can be answered
        else:
            made = [(part.mode, dumps(data))]
        return [("|".join((name, *part.namespace)), told) for name, told in made]

    def _message(self, part: Part) -> list[Frame]:
        if not isinstance(part.data, list):  # too large for a record
            return []
        message, *about = part.data
        made: list[Frame] = []
        if "messages" in self._modes:
            if written(part.mode, part.data) is None:
                made.append(("messages/complete", dumps([message])))
            elif part.so_far is not None:
                made.append(("messages/partial", dumps([{**message, "type": "ai", "content": part.so_far}])))
        if "messages-tuple" in self._modes:
            made.append(("messages", dumps([message, *about])))
        return made


def asks(data: Any) -> bool:
    """Whether a part tells of an interrupt."""
    return isinstance(data, Mapping) and INTERRUPT in data
