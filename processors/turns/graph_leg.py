"""A leg of a hosted graph: it runs from an input or an answer to its end, an interrupt or a failure (decision 9).

What it stages, streams and writes is committed with the turn. A process that dies before leaves nothing: the leg is re-executed,
from its start, or after the last superstep that was committed while it worked (`graph_saving.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from connectors.foreign import ForeignStop, close_unless_begun, error_text, original_of
from connectors.graphs import (
    Graphs,
    HostedGraph,
    Owner,
    UserStore,
    graph_input,
    own_threads,
    place,
    rows_of,
    run_config,
    to_json,
)
from processors.turns.graph_messages import new_messages
from processors.turns.graph_parts import Parts, PartTooLarge
from processors.turns.graph_saving import CommittingSaver, saving
from processors.turns.graph_state import (
    asked_before,
    interrupts_of,
    missing_graph,
    newest_id,
    restore,
    still_asked,
    stopped_before_its_turn,
)
from processors.turns.graph_stream import EarlyPieces, stream
from processors.turns.leg import LostRace, Work
from processors.turns.running_legs import Interrupted, RunningLegs
from processors.turns.underway import ANNOUNCED_AFTER
from schemas import (
    GraphRequest,
    Output,
    RawRecord,
    RunLimits,
    ServerTrouble,
    SettingsError,
    StateRow,
    Tenant,
)
from schemas.common.clock import Clock, utc_now
from schemas.ids import random_digits
from state import ItemStore, Journal
from threads.leg_ends import Asked, Failed, Finished, GraphWork, LegEnd, LegResult, Stopped, seconds_left

log = logging.getLogger("cauce.turns")

BESIDE_SECONDS = 60.0
"""Time for reading states and for the clean-up of a graph's function, beside creating the graph and its work."""


@dataclass
class _Execution:
    """What one execution of a graph is made with."""

    id: str
    work: Work
    request: GraphRequest
    thread_id: str
    config: RunnableConfig
    saver: CommittingSaver
    store: UserStore
    parts: Parts
    early: EarlyPieces
    began_at: str
    """The checkpoint that the thread stood at; empty for none."""
    resumed: bool
    """The leg's first supersteps are committed: a process died after them, and the leg resumes from there."""


@dataclass(frozen=True, slots=True)
class _Played:
    """How a graph ended."""

    early: Failed | Stopped | None = None
    """Before its end or an interrupt."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """The values that its state had before."""
    after: StateSnapshot | None = None
    """Its state now, as far as it can be read."""


class GraphLeg:
    """See `Leg`: runs the graphs that this installation hosts. `emit` publishes what they stream immediately, best effort."""

    def __init__(
        self,
        graphs: Graphs,
        journal: Journal,
        items: ItemStore,
        emit: Callable[[Output], None],
        *,
        limits: RunLimits | None = None,
        now: Clock = utc_now,
        trail_after: float = ANNOUNCED_AFTER,
    ) -> None:
        self._trail_after = trail_after  # seconds, see `TrailingSaver`
        self._graphs, self._journal, self._items, self._emit, self._now = graphs, journal, items, emit, now
        self._limits = limits or RunLimits()
        self._graphs_running, self._legs_running = RunningLegs(), RunningLegs()
        """Graphs at work, and legs from the making of their graph to its end."""

    def arrived(self, raw: RawRecord) -> None:
        """See `Leg`."""
        if not self._graphs_running.arrived(raw):
            self._legs_running.arrived(raw)

    def limits(self, tenant: Tenant, agent_id: str) -> RunLimits:
        """The same for all graphs."""
        return self._limits

    async def run(self, work: Work) -> LegResult:
        """Runs the graph."""
        request = work.request
        if not work.tenant.may_use(request.graph):
            return LegResult(Failed("graph_missing", f"The tenant may not use the graph {request.graph!r}."))
        try:
            hosted = await self._graphs.get(request.graph)
        except SettingsError as error:
            return LegResult(Failed("graph_missing", missing_graph(request.graph, error)))
        leg = await self._begin(work)
        wanted = leg.request.checkpoint_id
        if wanted and await leg.saver.aget_tuple(place(leg.thread_id, wanted)) is None:
            failed = Failed("graph_error", f"The thread has no checkpoint {wanted!r} to resume from.")
            return LegResult(failed, work=_kept(leg))
        try:
            played = await self._contained(leg, hosted)
            await leg.saver.close()
        finally:
            leg.saver.stop()
        return _result(leg, played, self._now())

    async def _begin(self, work: Work) -> _Execution:
        draft, run, request, thread_id = work.draft, work.run, work.request, work.draft.thread.thread_id
        rows = rows_of(self._journal, *draft.thread)
        began_at = ""

        async def step(new: tuple[StateRow, ...], next_row: int) -> None:
            await work.commit(new, next_row, began_at)

        saver = saving(request.durability, rows, step, next_row=draft.head.next_row, after=self._trail_after)
        known = draft.base.head
        resumed = known is not None and known.progress == draft.input_id
        if known and resumed:
            began_at = known.progress_from
            request = request.model_copy(update={"checkpoint_id": None})
        elif draft.restore is not None:
            began_at = draft.restore
            await restore(saver, thread_id, began_at)
        else:
            began_at = await newest_id(saver, thread_id)
        parts, leg_id = Parts(to_json), f"{run.run_id[:100]}.{random_digits(12)}"
        of = (run.run_id, leg_id, request.graph)
        return _Execution(
            id=leg_id,
            work=work,
            request=request,
            thread_id=thread_id,
            config=run_config(
                request,
                thread_id=thread_id,
                tenant_id=draft.thread.tenant_id,
                user_id=run.user_id,
                assistant_id=run.agent_id,
                run_id=run.run_id,
                request_id=draft.input_id,
                metadata=run.metadata,
            ),
            saver=saver,
            store=UserStore(self._items, draft.thread.tenant_id, run.user_id),
            parts=parts,
            early=EarlyPieces(parts, draft.thread, of, self._emit, self._now, draft.traceparent),
            began_at=began_at,
            resumed=resumed,
        )

    async def _contained(self, leg: _Execution, hosted: HostedGraph) -> _Played:
        """As `_play`, however the graph and the function that makes it end, and however long they take to end."""
        draft, run = leg.work.draft, leg.work.run
        play = self._play(leg, hosted)
        try:
            async with asyncio.timeout(2 * seconds_left(draft, self._limits) + BESIDE_SECONDS):
                return await self._legs_running.run(str(draft.thread), run.run_id, run.user_id, play)
        except Interrupted as interrupted:
            return _Played(Stopped(interrupted.reason))
        except TimeoutError:
            return _Played(self._too_long())
        except ForeignStop as stop:
            return _Played(_failed(leg, stop))
        finally:
            close_unless_begun(play)
            leg.early.stop()

    async def _play(self, leg: _Execution, hosted: HostedGraph) -> _Played:
        draft = leg.work.draft
        own_threads(Owner(draft.thread.tenant_id, leg.id))
        played = _Played()
        limit = seconds_left(draft, self._limits)
        try:
            # Until the graph is there, this limits the factory that makes it; `_go` limits the graph.
            async with asyncio.timeout(limit) as making:
                bound = hosted.bound(saver=leg.saver, store=leg.store, config=leg.config, context=leg.request.context)
                async with bound as graph:
                    making.reschedule(None)
                    if began := leg.work.request.checkpoint_id or leg.began_at:
                        played = _Played(before=(await graph.aget_state(place(leg.thread_id, began))).values)
                    played = replace(played, early=await self._go(leg, graph, limit))
                    if played.early != _ROLLED_BACK:
                        played = replace(played, after=await graph.aget_state(place(leg.thread_id), subgraphs=True))
        except (ServerTrouble, LostRace):
            raise
        except Exception as error:
            if played.early is None:
                played = replace(played, early=_failed(leg, error) if not making.expired() else self._too_long())
        return played

    async def _go(self, leg: _Execution, graph: Any, limit: float) -> Failed | Stopped | None:
        draft, run = leg.work.draft, leg.work.run
        given = None if leg.resumed else graph_input(leg.request, waiting=asked_before(draft))
        if leg.resumed and await stopped_before_its_turn(graph, leg.saver, leg.thread_id, leg.request):
            return None
        work = stream(graph, given, leg.config, leg.request, leg.parts, leg.early.touch)
        try:
            async with asyncio.timeout(limit) as clock:
                await self._graphs_running.run(str(draft.thread), run.run_id, run.user_id, work, leg.work.waiting)
        except Interrupted as interrupted:
            return Stopped(interrupted.reason)
        except (ServerTrouble, LostRace):
            raise
        except Exception as error:
            return self._too_long() if clock.expired() else _failed(leg, error)
        finally:
            close_unless_begun(work)
            leg.early.stop()
        return None

    def _too_long(self) -> Failed:
        seconds = self._limits.seconds
        return Failed("limit_seconds", f"The run was stopped after {seconds:g} s, the limit of a graph.")


_ROLLED_BACK = Stopped("rolled_back")


def _result(leg: _Execution, played: _Played, at: datetime) -> LegResult:
    """What the leg returns: nothing of its work where that is rolled back."""
    early, after = played.early, played.after
    if early == _ROLLED_BACK:
        return LegResult(_ROLLED_BACK, at, GraphWork(leg.began_at))
    messages = new_messages(played.before, after.values, run_id=leg.work.run.run_id, at=at) if after else []
    end: LegEnd
    if isinstance(early, Failed):
        end = replace(early, asks=still_asked(leg.work.draft, after))
    elif early:
        end = early
    elif after and after.next:
        end = Asked(interrupts_of(after))
    else:
        end = Finished(next((m.message_id for m in reversed(messages) if m.role == "assistant"), None))
    return LegResult(end, at, replace(_kept(leg), messages=tuple(messages)))


def _kept(leg: _Execution) -> GraphWork:
    """What the leg has staged and streamed."""
    names = ("mode", "namespace", "data", "checkpoint_id", "chunks")
    streamed = tuple(
        {"leg": leg.id, "index": index} | {name: getattr(part, name) for name in names}
        for index, part in enumerate(leg.parts.whole())
    )
    return GraphWork(leg.began_at, leg.saver.staged(), leg.saver.next_row, streamed)


def _failed(leg: _Execution, error: Exception) -> Failed:
    log.warning("the graph %s failed", leg.request.graph, exc_info=error)
    message = str(error) if isinstance(error, PartTooLarge) else error_text(error)
    return Failed("graph_error", message, type(original_of(error)).__name__)
