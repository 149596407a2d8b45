"""Runs of hosted graphs as the classic run streams have them. Frames are named after stream modes, those of subgraphs with
their namespaces behind: `updates|sub:1`.

Ids of frames are positions, as in `projection.py`; within an active leg they name its parts (`LegReader`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from connectors.gateway.protocols.lg.projection import INTERRUPT, Frame, RunProjection
from connectors.gateway.protocols.lg.shapes import graph_interrupts
from connectors.gateway.protocols.lg.thread_state import dumps
from connectors.graphs.graph_states import StateOf
from core.following.event_methods import kinds
from core.following.graph_reader import GraphPieces, LegReader, Part, written
from core.following.position import Position, RunEnd
from schemas import GraphStreamed, RunCancelled, RunFailed, RunPaused, ThreadEvent


class GraphProjection(RunProjection):
    """Frames of one run: what its graph streamed, and how it ends."""

    LEAVES_OUT = frozenset(kinds()) - {GraphStreamed, RunPaused, RunFailed, RunCancelled}

    def __init__(
        self, until: RunEnd, modes: Collection[str], *, position: Position, resumable: bool, state_of: StateOf
    ) -> None:
        super().__init__(until, modes, position=position, resumable=resumable)
        self._state_of = state_of
        self._legs = LegReader(position)
        self._shown: dict[tuple[str, ...], str] = {}
        """The newest state that was read, by namespace."""

    def on_graph_pieces(self, pieces: GraphPieces) -> Iterable[bytes]:
        """Frames of the run's active leg."""
        for piece in pieces.pieces if pieces.run_id == self._run_id else ():
            if part := self._legs.live(pieces.leg, piece):
                made = self._part(part, part.data)
                # Of two frames of a piece the first is cumulative: only the last one's id counts.
                for one in made[:-1]:
                    yield self.frame(*one, None)
                for one in made[-1:]:
                    yield self.frame(*one, self._legs.at(self.seq))

    async def on_event(self, event: ThreadEvent) -> Iterable[bytes]:
        """Frames of this run's events only."""
        before = self._legs.at(event.seq - 1)
        made = await self.missing(event)
        return [self.frame(*one, replace(before, sub=n) if n else self._legs.at(event.seq)) for n, one in made]

    async def on_graph_streamed(self, event: GraphStreamed) -> list[Frame]:
        """What the reader has not had of it as a piece."""
        part = self._legs.stored(event)
        return self._part(part, await self._data(part)) if part else []

    def on_run_paused(self, event: RunPaused) -> list[Frame]:
        """What is asked."""
        data = dumps({INTERRUPT: graph_interrupts(event.interrupts)})
        return [(mode, data) for mode in ("updates", "values") if mode in self._modes]

    async def _data(self, part: Part) -> Any:
        if part.data is None and part.checkpoint_id and part.mode in self._modes:
            if self._shown.get(part.namespace) == part.checkpoint_id:
                return None  # an interrupt sends the state again
            self._shown[part.namespace] = part.checkpoint_id
            return await self._state_of(part.checkpoint_id, part.namespace)
        return part.data

    def _part(self, part: Part, data: Any) -> list[Frame]:
        if part.mode == "messages":
            made = self._message(part)
        elif part.mode not in self._modes or data is None:
            made = []
        elif not part.namespace and part.mode in ("updates", "values") and asks(data):
            made = []  # it is sent with the pause, when it can be answered
        else:
            made = [(part.mode, dumps(data))]
        return [("|".join((name, *part.namespace)), body) for name, body in made]

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
    """Whether a part contains an interrupt."""
    return isinstance(data, Mapping) and INTERRUPT in data
