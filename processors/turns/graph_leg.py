"""One leg of a graph's run: a hosted graph goes from an input or an answer to its end, a pause or a failure (decision 9).

What it stages, streams and says goes into the draft, and is committed with the turn. A process that dies before leaves nothing:
the leg is made again, from its start, or after the last superstep that was committed while it worked (`graph_saving.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from connectors.foreign import ForeignStop, close_unless_begun, contained, original_of
from connectors.graphs import (
    UPDATE,
    Graphs,
    HostedGraph,
    Owner,
    StagingSaver,
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
from processors.turns.graph_saving import CommittingSaver, LostRace, saving
from processors.turns.graph_state import (
    changed_by_hand,
    interrupts_of,
    newest_id,
    restore,
    still_asked,
    stopped_before_its_turn,
)
from processors.turns.graph_stream import EarlyPieces, stream
from processors.turns.legs import Interrupted, Legs, Waiting
from processors.turns.underway import TOLD_AFTER
from schemas import (
    GraphRequest,
    GraphStreamed,
    Output,
    RawRecord,
    RunLimits,
    ServerTrouble,
    SettingsError,
    StateRow,
    UpdateState,
    error_words,
    storable_text,
)
from schemas.clock import Clock, utc_now
from schemas.ids import random_digits
from state import ItemStore, Journal
from threads.answers import seconds_left
from threads.draft import Draft
from threads.graph_transitions import (
    add_messages,
    complete_graph,
    pause_graph,
    state_updated,
    too_large_to_ask,
)
from threads.transitions import CancelReason, Next, cancel_run, fail_run, refuse

log = logging.getLogger("cauce.turns")

LONGEST_WORDS = 500
"""Characters of a graph's own error that its user is shown."""

BESIDE_SECONDS = 60.0
"""Time for reading states and for the clean-up of a graph's function, beside creating the graph and its work."""

CommitStep = Callable[[Draft, tuple[StateRow, ...], int, str], Awaitable[None]]
"""Commits a superstep of a draft: its rows, the number after them, the checkpoint that the leg began at. Raises `LostRace`."""


@dataclass
class _Leg:
    """What one execution of a graph is made with."""

    id: str
    request: GraphRequest
    thread_id: str
    config: RunnableConfig
    saver: CommittingSaver
    store: UserStore
    parts: Parts
    early: EarlyPieces
    began_at: str
    """The checkpoint that the thread stood at; empty for none."""
    goes_on: bool
    """The leg's first supersteps are committed: a process died after them."""


@dataclass(frozen=True, slots=True)
class _End:
    """How a leg ended: well where all are None."""

    code: Literal["graph_error", "limit_seconds"] | None = None
    words: str = ""
    error: str = ""
    """The class of the exception that the graph ended with."""
    stopped: CancelReason | None = None


class GraphLegs:
    """Runs the graphs that this installation hosts. `emit` publishes what they stream at once, best effort."""

    def __init__(
        self,
        graphs: Graphs,
        journal: Journal,
        items: ItemStore,
        emit: Callable[[Output], None],
        *,
        limits: RunLimits | None = None,
        now: Clock = utc_now,
        trail_after: float = TOLD_AFTER,
    ) -> None:
        self._trail_after = trail_after  # seconds, see `TrailingSaver`
        self._graphs, self._journal, self._items, self._emit, self._now = graphs, journal, items, emit, now
        self.limits = limits or RunLimits()
        self._going, self._whole = Legs(), Legs()
        """Graphs at work, and legs from the making of their graph to its end."""

    def arrived(self, raw: RawRecord) -> None:
        """See `Legs.arrived`."""
        if not self._going.arrived(raw):
            self._whole.arrived(raw)

    async def run(self, draft: Draft, waiting: Waiting, commit: CommitStep) -> Next:
        """Runs the graph of the draft's active run and writes how it ended.

        `waiting` gives the records that have come for the thread meanwhile: one of them may stop it. Raises `Unavailable`, and
        what `commit` raises.
        """
        run = draft.head.run
        assert run
        assert run.graph, "a leg belongs to a graph's run"
        try:
            hosted = await self._graphs.get(run.graph.graph)
        except SettingsError as error:
            fail_run(draft, "graph_missing", storable_text(str(error)))
            return Next.COMMIT
        leg = await self._begin(draft, commit)
        wanted = leg.request.checkpoint_id
        if wanted and await leg.saver.aget_tuple(place(leg.thread_id, wanted)) is None:
            self._keep(draft, leg)
            fail_run(draft, "graph_error", f"The thread has no checkpoint {wanted!r} to go on from.")
            return Next.COMMIT
        try:
            end, before, after = await self._contained(draft, leg, hosted, waiting)
            await leg.saver.close()
        finally:
            leg.saver.stop()
        draft.now = self._now()
        if end.stopped == "rolled_back":
            cancel_run(draft, "rolled_back")
            return Next.COMMIT
        self._keep(draft, leg)
        _write(draft, end, before, after)
        return Next.COMMIT

    async def restore(self, draft: Draft) -> None:
        """Takes the state back to where the draft wants it."""
        if draft.restore is not None:
            saver = StagingSaver(rows_of(self._journal, *draft.thread), next_row=draft.head.next_row)
            await restore(saver, draft.thread.thread_id, draft.restore)
            draft.rows = (*draft.rows, *saver.staged())
            draft.count_rows(saver.next_row)
            draft.restore = None

    async def update_state(self, draft: Draft, update: UpdateState) -> Next:
        """Changes the state of a thread by hand, or says why it cannot be."""
        run, thread_id = draft.head.run, draft.thread.thread_id
        if draft.head.deleted:
            return refuse(draft, "the thread was deleted")
        if run and not run.paused:
            return refuse(draft, "a run is going; its state can be changed when it is over or waits")
        known = {name: getattr(update, name) for name in ("graph", "checkpoint_id", "config", "context", "permissions")}
        config = run_config(
            GraphRequest(**known),
            thread_id=thread_id,
            assistant_id=update.agent_id,
            user_id=update.user_id,
            request_id=draft.input_id,
        )
        saver = StagingSaver(rows_of(self._journal, *draft.thread), next_row=draft.head.next_row)
        store = UserStore(self._items, draft.thread.tenant_id, update.user_id)

        async def updated() -> tuple[StateSnapshot, RunnableConfig, StateSnapshot]:
            own_threads(Owner(draft.thread.tenant_id, draft.input_id))
            hosted = await self._graphs.get(update.graph)
            async with hosted.bound(saver=saver, store=store, config=config, access=UPDATE) as graph:
                before = await graph.aget_state(place(thread_id, update.checkpoint_id))
                changed = await changed_by_hand(graph, config, update)
                return before, changed, await graph.aget_state(place(thread_id), subgraphs=True)

        try:
            async with asyncio.timeout(self.limits.seconds):
                before, changed, after = await contained(updated())
        except ServerTrouble:
            raise
        except SettingsError as error:
            return refuse(draft, storable_text(str(error)))
        except Exception as error:
            log.info("the state of %s was not changed", draft.thread, exc_info=error)
            return refuse(draft, words_of(error))
        asked = interrupts_of(after)
        if words := too_large_to_ask(draft, asked):
            return refuse(draft, words)
        draft.rows = saver.staged()
        draft.count_rows(saver.next_row)
        checkpoint_id = changed["configurable"]["checkpoint_id"]
        state_updated(draft, checkpoint_id, asked, graph=update.graph, agent_id=update.agent_id)
        run_id = run.run_id if run else draft.input_id
        add_messages(draft, new_messages(before.values, after.values, run_id=run_id, at=draft.now))
        if run and run.graph and not after.next:  # there is nothing left to wait for
            complete_graph(draft, None)
        return Next.COMMIT

    async def _begin(self, draft: Draft, commit: CommitStep) -> _Leg:
        run, thread_id = draft.head.run, draft.thread.thread_id
        assert run
        assert run.graph
        rows = rows_of(self._journal, *draft.thread)
        began_at = ""

        async def step(new: tuple[StateRow, ...], next_row: int) -> None:
            await commit(draft, new, next_row, began_at)

        next_row = draft.head.next_row
        saver = saving(run.graph.durability, rows, step, next_row=next_row, after=self._trail_after)
        known = draft.base.head
        goes_on = known is not None and known.progress == draft.input_id
        if known and goes_on:
            began_at = known.progress_from
        elif draft.restore is not None:
            began_at = draft.restore
            await restore(saver, thread_id, began_at)
        else:
            began_at = await newest_id(saver, thread_id)
        draft.restore = None
        draft.state_before = began_at if run.state_before is None else run.state_before
        request = draft.request
        assert request, "an input of this turn says what the graph is to do"
        if goes_on:
            request = request.model_copy(update={"checkpoint_id": None})
        parts, leg_id = Parts(to_json), f"{run.run_id[:100]}.{random_digits(12)}"
        return _Leg(
            id=leg_id,
            request=request,
            thread_id=thread_id,
            config=run_config(
                request,
                thread_id=thread_id,
                user_id=run.user_id,
                assistant_id=run.agent_id,
                run_id=run.run_id,
                request_id=draft.input_id,
                metadata=run.metadata,
            ),
            saver=saver,
            store=UserStore(self._items, draft.thread.tenant_id, run.user_id),
            parts=parts,
            early=EarlyPieces(
                parts, draft.thread, (run.run_id, leg_id, request.graph), self._emit, self._now, draft.traceparent
            ),
            began_at=began_at,
            goes_on=goes_on,
        )

    async def _contained(
        self, draft: Draft, leg: _Leg, hosted: HostedGraph, waiting: Waiting
    ) -> tuple[_End, Mapping[str, Any], StateSnapshot | None]:
        """As `_play`, whatever the graph and the function that makes it end with, and however long they refuse to end."""
        run = draft.head.run
        assert run
        play = self._play(draft, leg, hosted, waiting)
        try:
            async with asyncio.timeout(2 * seconds_left(draft, self.limits) + BESIDE_SECONDS):
                return await self._whole.run(str(draft.thread), run.run_id, run.user_id, play)
        except Interrupted as interrupted:
            end = _End(stopped=interrupted.reason)
        except TimeoutError:
            end = self._too_long()
        except ForeignStop as stop:
            end = _failed(leg, stop)
        finally:
            close_unless_begun(play)
            leg.early.stop()
        return end, {}, None

    async def _play(
        self, draft: Draft, leg: _Leg, hosted: HostedGraph, waiting: Waiting
    ) -> tuple[_End, Mapping[str, Any], StateSnapshot | None]:
        """How the leg ended, the values that its state had before, and the state after it, as far as it can be read."""
        own_threads(Owner(draft.thread.tenant_id, leg.id))
        end, before, after = _End(), dict[str, Any](), None
        limit = seconds_left(draft, self.limits)
        try:
            # Until the graph is there, this limits the factory that makes it; `_go` limits the graph.
            async with asyncio.timeout(limit) as making:
                bound = hosted.bound(saver=leg.saver, store=leg.store, config=leg.config, context=leg.request.context)
                async with bound as graph:
                    making.reschedule(None)
                    run = draft.head.run
                    assert run
                    assert run.graph
                    if began := run.graph.checkpoint_id or leg.began_at:
                        before = (await graph.aget_state(place(leg.thread_id, began))).values
                    end = await self._go(draft, leg, graph, waiting, limit)
                    if end.stopped != "rolled_back":
                        after = await graph.aget_state(place(leg.thread_id), subgraphs=True)
        except (ServerTrouble, LostRace):
            raise
        except Exception as error:
            if end == _End():
                end = _failed(leg, error) if not making.expired() else self._too_long()
        return end, before, after

    async def _go(self, draft: Draft, leg: _Leg, graph: Any, waiting: Waiting, limit: float) -> _End:
        run = draft.head.run
        assert run
        known = draft.base.head
        waiting_for = known.run.interrupts if known and known.run and known.run.run_id == run.run_id else ()
        waiting_for = waiting_for or (known.asks if known and known.run is None else ())
        given = None if leg.goes_on else graph_input(leg.request, waiting=waiting_for)
        if leg.goes_on and await stopped_before_its_turn(graph, leg.saver, leg.thread_id, leg.request):
            return _End()
        work = stream(graph, given, leg.config, leg.request, leg.parts, leg.early.touch)
        try:
            async with asyncio.timeout(limit) as clock:
                await self._going.run(str(draft.thread), run.run_id, run.user_id, work, waiting)
        except Interrupted as interrupted:
            return _End(stopped=interrupted.reason)
        except (ServerTrouble, LostRace):
            raise
        except Exception as error:
            return self._too_long() if clock.expired() else _failed(leg, error)
        finally:
            close_unless_begun(work)
            leg.early.stop()
        return _End()

    def _too_long(self) -> _End:
        return _End("limit_seconds", f"The run was stopped after {self.limits.seconds:g} s, the limit of a graph.")

    def _keep(self, draft: Draft, leg: _Leg) -> None:
        """Writes what the leg staged and streamed."""
        run = draft.head.run
        assert run
        draft.rows = leg.saver.staged()
        draft.count_rows(leg.saver.next_row)
        for index, part in enumerate(leg.parts.whole()):
            draft.event(
                GraphStreamed,
                run_id=run.run_id,
                leg=leg.id,
                index=index,
                mode=part.mode,
                namespace=part.namespace,
                data=part.data,
                checkpoint_id=part.checkpoint_id,
                chunks=part.chunks,
            )


def _write(draft: Draft, end: _End, before: Mapping[str, Any], after: StateSnapshot | None) -> None:
    """What the leg's end does to the thread."""
    run = draft.head.run
    assert run
    messages = new_messages(before, after.values, run_id=run.run_id, at=draft.now) if after else []
    add_messages(draft, messages)
    if end.stopped:
        cancel_run(draft, end.stopped)
    elif end.code:
        fail_run(draft, end.code, end.words, error=end.error, asks=still_asked(draft, after))
    elif after and after.next:
        pause_graph(draft, interrupts_of(after))
    else:
        complete_graph(draft, next((m for m in reversed(messages) if m.role == "assistant"), None))


def _failed(leg: _Leg, error: Exception) -> _End:
    log.warning("the graph %s failed", leg.request.graph, exc_info=error)
    words = str(error) if isinstance(error, PartTooLarge) else words_of(error)
    return _End("graph_error", words, type(original_of(error)).__name__)


def words_of(error: BaseException) -> str:
    """An error of a graph in words for its user."""
    return error_words(original_of(error), LONGEST_WORDS)
