"""The contract of a leg: what an agent does in one turn, whatever kind of agent it is.

There is one implementation for each kind of run (`RunKind`), side by side: `agent_leg` asks the model of the tenant's own agent,
`graph_leg` runs a hosted graph. The processor takes the one of the kind that is stored with the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas import ActiveRun, GraphRequest, RawRecord, RunLimits, StateRow, Tenant
from threads.draft import Draft
from threads.leg_ends import LegResult

DELTA_SECONDS = 0.03
"""Pieces of an answer or a stream are gathered for this long before one delta is sent."""

CommitStep = Callable[[tuple[StateRow, ...], int, str], Awaitable[None]]
"""Commits a superstep: its rows, the number after them, the checkpoint that the leg began at. Raises `LostRace`."""


class LostRace(Exception):
    """Another writer has changed the thread while a leg worked: the input is processed again from the start."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a leg is to do."""

    draft: Draft
    """The thread and what its turn has done up to now. A leg reads it, and writes nothing to it."""
    tenant: Tenant
    waiting: Callable[[], Sequence[RawRecord]]
    """The records that have come for the thread since the turn's own: one of them may stop the leg."""
    commit: CommitStep
    """For what is to be kept although the process may die before the leg's end."""

    @property
    def run(self) -> ActiveRun:
        """The run that it is a leg of."""
        return self.draft.run

    @property
    def request(self) -> GraphRequest:
        """The whole request to a graph. Raises `LookupError` for an agent, whose input is the thread's messages."""
        if self.draft.request is None:
            raise LookupError(f"the run {self.run.run_id} is of no graph")
        return self.draft.request


class Leg(Protocol):
    """What works on the runs of one kind. Pieces of what it makes are published while it works, best effort."""

    def limits(self, tenant: Tenant, agent_id: str) -> RunLimits | None:
        """What a run may take; None where the tenant has no such agent."""

    def arrived(self, raw: RawRecord) -> None:
        """A record has come for some thread: it stops the leg that it concerns, if one works there. Neither waits nor raises."""

    async def run(self, work: Work) -> LegResult:
        """Works until an answer, a question, an end or a failure of the run. The caller writes and commits the result.

        A process that dies meanwhile leaves nothing but what `work.commit` has committed, and the leg is re-executed.

        | raised | then |
        |---|---|
        | `ServerTrouble` | the record is tried again |
        | `LostRace` | the input is processed again from the start |
        | `ForeignStop` | foreign code wanted to end the worker: counted against the record |

        Everything else that goes wrong in a model or a graph is a `Failed` run.
        """
