"""Runs as the classic run streams have them: frames named after stream modes. `agent_projection.py` makes those of agents,
`graph_projection.py` those of hosted graphs.

Ids of frames are positions (`Position`), so that a client that comes back, here or at another instance, gets what it has not
seen, also within one event and within one answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from connectors.gateway.problems import Problem
from connectors.gateway.protocols.lg.shapes import failure
from connectors.gateway.protocols.lg.thread_state import dumps
from connectors.gateway.sse import FrameReader, frame
from core.following.position import Position, RunEnd
from schemas import RunCancelled, RunFailed, ThreadEvent

MODES = (
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "custom",
    "events",
    "tasks",
    "checkpoints",
    "debug",
    "tools",
)

INTERRUPT = "__interrupt__"
"""The key under which a state or an update has what is asked."""
END = frame("end", "null")
Frame = tuple[str, str]


class RunProjection(FrameReader, base=True):
    """Frames of one run: its id first, then what its events make, and the end."""

    def __init__(self, until: RunEnd, modes: Collection[str], *, position: Position, resumable: bool) -> None:
        super().__init__(seq=position.seq, until=until)
        self._run_id, self._modes = until.run_id, modes
        self._position, self._resumable = position, resumable

    def opening(self) -> Iterable[bytes]:
        """Which run it is."""
        return [frame("metadata", dumps({"run_id": self._run_id, "attempt": 1}))]

    def closing(self) -> Iterable[bytes]:
        """The end."""
        return [END]

    async def missing(self, event: ThreadEvent) -> list[tuple[int, Frame]]:
        """The frames of an event that the client lacks, each with the `sub` of its position: 0 for the last, which completes the
        event. None for events of other runs."""
        made: list[Frame] = await self.made_of(event) if event.run_id == self._run_id else []
        had = self._position.sub if event.seq == self._position.seq + 1 else 0
        return [(n % len(made), one) for n, one in enumerate(made, 1) if n > had]

    def frame(self, name: str, data: str, position: Position | None) -> bytes:
        """A frame, with its position where the client may reconnect."""
        return frame(name, data, position=str(position) if position and self._resumable else None)

    def on_run_failed(self, event: RunFailed) -> list[Frame]:
        """The end."""
        return [("error", dumps(failure(event)))]

    def on_run_cancelled(self, event: RunCancelled) -> list[Frame]:
        """The end: an error where the run was rejected, else nothing."""
        return [("error", dumps({"error": "rejected", "message": event.message}))] if event.reason == "rejected" else []


def error_frame(problem: Problem) -> bytes:
    """The end of a stream that cannot continue."""
    return frame("error", dumps({"error": problem.code, "message": problem.detail})) + END
