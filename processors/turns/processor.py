"""The turns processor: one record in, one turn journaled, its outputs out (docs/decisions/0002-one-record-one-turn.md).

1. Hydrate the thread. The input is in the journal: return its stored outputs, done (`outputs_for`).
2. Apply the input to a draft (`transitions`). Where that is needed, the leg of the run's kind works (`leg`), and what it gives
   back is written to the draft (`leg_ends`).
3. Commit the draft in one conditional batch. That is the point where the turn happened.
4. Return the stored outputs. On a lost race: again from 1.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from processors.settings_cache import TenantCache
from processors.turns import underway
from processors.turns.copying import copy_thread
from processors.turns.dropped_results import drop_results
from processors.turns.gate import Gate, end_for_good
from processors.turns.hydration import Threads
from processors.turns.leg import Leg, LostRace, Work
from processors.turns.new_inputs import STARTING, new_input, strategy_of
from processors.turns.state_changes import StateChanges
from schemas import (
    Action,
    ApprovalDecision,
    CancelRun,
    ChangeMessages,
    ChangeThread,
    ContinueThread,
    ExternalEvent,
    GraphInput,
    Output,
    ProcessedInput,
    RawRecord,
    Record,
    RunKind,
    RunLimits,
    ServerTrouble,
    StateRow,
    Tenant,
    ThreadHead,
    ThreadKey,
    TooLarge,
    ToolResult,
    UnreadableBody,
    UnreadableRow,
    UpdateState,
    UserMessage,
    check_sizes,
    decode_outputs,
)
from schemas.common.clock import Clock, utc_now
from state import AlreadyDone, Commit, Committed, Hydrated, Journal, Stale, ToolLedger
from streams import Publication, Reject, RuntimeView
from threads import forks, graph_transitions, transitions
from threads.calls import find_pending
from threads.draft import Draft
from threads.leg_ends import on_leg
from threads.message_changes import on_change_messages
from threads.transitions import Next

_ANSWERED = frozenset(kind.TYPE for kind in (ApprovalDecision, CancelRun, ChangeMessages, ChangeThread, UpdateState))
"""Types of inputs that are refused by an event."""
_PROPAGATOR = TraceContextTextMapPropagator()


class TurnsProcessor:
    """See `streams.Processor` for the contract."""

    def __init__(
        self,
        journal: Journal,
        ledger: ToolLedger,
        tenants: TenantCache,
        legs: Mapping[RunKind, Leg],
        states: StateChanges | None = None,
        *,
        gate: Gate | None = None,
        now: Clock = utc_now,
        observe: Callable[[str, float], None] = lambda stage, seconds: None,
    ) -> None:
        """`legs` do the work of runs, by kind; `states` is there where graphs are hosted, and `gate` where tenants can be
        paused and users blocked. `observe` gets the name of a stage
        and its seconds: `hydrate`, `model` (all that a leg waits for) and `commit`."""
        self._observe, self._states, self._gate = observe, states, gate or Gate()
        self._journal, self._ledger, self._tenants, self._legs, self._now = journal, ledger, tenants, legs, now
        self._threads = Threads(journal)
        self._runtime: RuntimeView = _Alone()

    async def process(self, record: Record) -> Sequence[Output]:
        """Runs one turn, or returns the stored outputs of an input that was processed before."""
        tenant = await self._tenants.get(record.tenant_id)
        if tenant is None:
            raise Reject(
                f"there is no tenant {record.tenant_id!r}; create it with: cauce tenant add {record.tenant_id}"
            )
        if tenant.state == "active" and isinstance(record.body, UserMessage | ExternalEvent | GraphInput):
            self._limits("graph" if isinstance(record.body, GraphInput) else "agent", record.body.agent_id, tenant)
        held = self._gate.holds(tenant, record.body)
        return await self._until_committed(record, lambda draft: self._apply(draft, record, tenant), held=held)

    async def give_up(self, record: Record, reason: str) -> Sequence[Output]:
        """Ends what depends on the record with a failure that the user sees."""
        if isinstance(record.body, UnreadableBody):
            return await self._end_unreadable(record, record.body, reason)
        return await self._until_committed(record, lambda draft: self._fail(draft, record))

    async def _end_unreadable(self, record: Record, unreadable: UnreadableBody, reason: str) -> Sequence[Output]:
        """Answers whoever waits for it, as far as its headers and ids identify them."""
        if await self._tenants.get(record.tenant_id) is None:
            return ()

        async def end(draft: Draft) -> None:
            if unreadable.kind in STARTING:
                message = f"This could not be read: {reason}."
                run_id = unreadable.run_id or record.envelope.id
                transitions.fail_before_run(draft, run_id, "internal_error", message)
            elif unreadable.kind in _ANSWERED:
                transitions.refuse(draft, f"it could not be read: {reason}")
            else:
                raise Reject(reason)

        try:
            return await self._until_committed(record, end)
        except Reject:
            return ()

    def attach(self, runtime: RuntimeView) -> None:
        """See `streams.Processor`."""
        self._runtime = runtime

    def arrived(self, raw: RawRecord) -> None:
        """Stops the model call that a cancel or an interrupting message is about."""
        for leg in self._legs.values():
            leg.arrived(raw)

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._observe(stage, time.perf_counter() - started)

    async def _until_committed(
        self, record: Record, apply: Callable[[Draft], Any], *, held: bool = False
    ) -> Sequence[Output]:
        assert record.thread, "conversation topics are keyed by thread"
        key = record.thread
        while True:
            with self._timed("hydrate"):
                thread = await self._hydrated(record, key)
            if thread.outputs is not None:
                return [*await self._unpublished_before(record, thread), *outputs_for(record, thread.outputs)]
            if held:
                await self._gate.hold(record, thread.head)
                return ()
            draft = self._draft(record, key, thread)
            before = thread.head.unpublished if thread.head else ()
            try:
                try:
                    await apply(draft)
                    commit, result = await self._committed(draft, before)
                except TooLarge as error:
                    draft = self._draft(record, key, draft.base)
                    await self._fail(draft, record, f"The result is too large to be kept: {error}.")
                    commit, result = await self._committed(draft, before)
            except LostRace:
                self._threads.forget(key)
                continue
            if isinstance(result, Committed):
                self._threads.committed(key, draft.base, commit, result.version)
                return [*await self._unpublished_before(record, thread), *draft.outputs]
            self._threads.forget(key)

    async def _hydrated(self, record: Record, key: ThreadKey) -> Hydrated:
        """The thread; of one that cannot be read and is to be deleted as much as that takes."""
        waited_for = self._waited_for(key, record.body)
        try:
            return await self._threads.hydrate(key, record.envelope.id, waited_for=waited_for)
        except UnreadableRow:
            body = record.body
            if not (isinstance(body, ChangeThread) and body.action == "delete"):
                raise
            found = await self._threads.without_head(key, body.user_id, self._now())
            if found is None:
                raise
            return found

    async def _committed(
        self, draft: Draft, before: Sequence[ProcessedInput]
    ) -> tuple[Commit, Committed | AlreadyDone | Stale]:
        """Commits a draft that can be published: what was journaled always is. Raises `TooLarge` where it cannot be."""
        check_sizes(draft.outputs)
        commit = draft.commit(p for p in before if self._runtime.publication(p.source) is not Publication.COMMITTED)
        try:
            with self._timed("commit"):
                return commit, await self._journal.commit(*draft.thread, commit)
        except ServerTrouble:
            self._threads.forget(draft.thread)  # it may have been applied: the journal is read again
            raise

    async def _unpublished_before(self, record: Record, thread: Hydrated) -> list[Output]:
        """Outputs of inputs that a previous owner had processed and not published.

        Their records will be redelivered, but perhaps after this one where they are of another topic, and readers
        must get the thread's events in order.
        """
        key, found = record.thread, list[Output]()
        assert key
        for processed in thread.head.unpublished if thread.head else ():
            if processed.source == record.raw.position:
                break
            if self._runtime.publication(processed.source) is not Publication.MISSING:
                continue
            stored = await self._journal.outputs_of(*key, processed.input_id)
            outputs, source = decode_outputs(stored) if stored else ([], "")
            found += [dataclasses.replace(output, source=source) for output in outputs]
        return found

    def _waited_for(self, key: ThreadKey, body: object) -> bool:
        thread = self._threads.peek(key)
        if thread is None or thread.head is None or not isinstance(body, ToolResult):
            return False
        pending = find_pending(thread.head, body.call_id)
        return pending is not None and pending.state == "running"

    def _draft(self, record: Record, key: ThreadKey, thread: Hydrated) -> Draft:
        body, now = record.body, self._now()
        head = thread.head
        if head is None:
            if (isinstance(body, UnreadableBody) and body.kind in STARTING and body.user_id) or (
                isinstance(body, ChangeThread) and body.action in ("create", "copy")
            ):
                head = ThreadHead(user_id=body.user_id, created_at=now, updated_at=now)
            elif isinstance(body, UserMessage | ExternalEvent | GraphInput):
                head = transitions.new_head(new_input(record), now)
            else:
                raise Reject(f"the thread {key.thread_id!r} does not exist")
        elif (user_id := getattr(body, "user_id", None) or head.user_id) != head.user_id:
            raise Reject(f"the thread {key.thread_id!r} does not belong to the user {user_id!r}")
        draft = Draft(key, record.envelope.id, now, thread, head, record.raw.position, _traceparent(record))
        draft.kind, draft.origin = record.envelope.type, record.envelope.origin
        # Answers are announced by the gateway that accepts them.
        draft.announced = isinstance(body, ApprovalDecision | GraphInput) and head.run is not None
        return draft

    async def _apply(self, draft: Draft, record: Record, tenant: Tenant) -> None:
        if not draft.head.deleted and (why := await self._gate.ended(tenant, draft.head.user_id, record.body)):
            following = end_for_good(draft, record, why)
        else:
            following = await self._transition(draft, record, tenant)
        while following is Next.LEG:
            if tenant.state == "paused":
                await self._gate.hold_run(draft)
                break
            with self._timed("model"):
                following = await self._leg(draft, tenant, record)
        if self._states:
            await self._states.restore(draft)

    async def _leg(self, draft: Draft, tenant: Tenant, record: Record) -> Next:
        work = Work(draft, tenant, lambda: self._runtime.waiting(record.raw), partial(self._commit_step, draft))
        async with underway.announced(self._journal, draft, record):
            result = await self._legs[draft.run.kind].run(work)
        return on_leg(draft, result)

    def _limits(self, kind: RunKind, agent_id: str, tenant: Tenant) -> RunLimits:
        """What a run of the agent may take. Raises `Reject` where there is nobody to work on it."""
        leg = self._legs.get(kind)
        limits = leg.limits(tenant, agent_id) if leg else None
        if limits is None:
            raise Reject(f"the tenant {tenant.tenant_id!r} has no agent {agent_id!r}")
        return limits

    async def _commit_step(self, draft: Draft, rows: tuple[StateRow, ...], next_row: int, began_at: str) -> None:
        commit = draft.superstep(rows, next_row, began_at=began_at)
        try:
            result = await self._journal.commit(*draft.thread, commit)
        except BaseException:
            self._threads.forget(draft.thread)  # it may have been applied: the journal is read again
            raise
        if not isinstance(result, Committed):
            raise LostRace
        self._threads.committed(draft.thread, draft.base, commit, result.version)
        draft.superstep_committed(commit, result.version)

    async def _transition(self, draft: Draft, record: Record, tenant: Tenant) -> Next:
        body = record.body
        if forks.needs_rows(draft.head, body):
            draft.rows_known = tuple(await self._journal.messages(*draft.thread, limit=forks.MOST_BACK))
        if isinstance(body, UserMessage | ExternalEvent | GraphInput):
            new = new_input(record)
            return graph_transitions.on_any_input(
                draft, new, self._limits(new.kind, new.agent_id, tenant), strategy_of(body)
            )
        if isinstance(body, UpdateState):
            if self._states is None:
                raise Reject(f"no graphs are hosted here, and so not {body.graph!r}")
            if not tenant.may_use(body.graph):
                return transitions.refuse(draft, f"the tenant may not use the graph {body.graph!r}")
            return await self._states.update(draft, body)
        if isinstance(body, ToolResult):
            return await self._tool_result(draft, body)
        if isinstance(body, ApprovalDecision):
            return transitions.on_decision(draft, body)
        if isinstance(body, CancelRun):
            return transitions.on_cancel(draft, body)
        if isinstance(body, ChangeThread) and body.action == "copy":
            return await copy_thread(draft, body, self._journal)
        if isinstance(body, ChangeThread):
            if body.hide_run:
                over = await self._journal.runs(*draft.thread, run_id=body.hide_run)
                draft.runs += [run.model_copy(update={"hidden": True}) for run in over]
            following = transitions.on_change(draft, body)
            if draft.erased:
                await drop_results(self._journal, self._ledger, draft.thread)
            return following
        if isinstance(body, ChangeMessages):
            return on_change_messages(draft, body)
        assert isinstance(body, ContinueThread)
        return transitions.on_continue(draft, body)

    async def _tool_result(self, draft: Draft, result: ToolResult) -> Next:
        pending = find_pending(draft.head, result.call_id)
        if pending and pending.state == "running":
            return transitions.on_tool_result(draft, result)
        if pending is None and await self._ledger.get(draft.thread.tenant_id, result.call_id) is None:
            raise Reject(f"nothing requested the tool call {result.call_id!r}")
        # The run was ended, or the call answered, before this result came: nothing waits for it any more.
        if draft.head.deleted:
            await self._ledger.drop_content(draft.thread.tenant_id, result.call_id)
        draft.audit(
            Action.TOOL_RESULT_IGNORED, actor=f"tool:{result.name}", run_id=result.run_id, subject=result.call_id
        )
        return Next.COMMIT

    async def _fail(self, draft: Draft, record: Record, message: str = "") -> None:
        body, run = record.body, draft.head.run
        if isinstance(body, GraphInput) and run and graph_transitions.concerns_the_run(draft, body):
            asks = draft.head.open_interrupts
            transitions.fail_run(draft, "internal_error", message or _given_up(run.run_id), asks=asks)
        elif isinstance(body, UserMessage | ExternalEvent | GraphInput):
            run_id = new_input(record).run_id
            transitions.fail_before_run(draft, run_id, "internal_error", message or _given_up(run_id))
        elif isinstance(body, ContinueThread):
            transitions.fail_next(draft, body, "internal_error", message or _given_up(body.run_id))
        elif isinstance(body, ToolResult):
            if find_pending(draft.head, body.call_id) is not None:
                transitions.fail_run(draft, "internal_error", message or _given_up(body.run_id))
        else:
            transitions.refuse(draft, (message or _given_up(record.envelope.id)).rstrip("."))


def _given_up(id_: str) -> str:
    return f"This could not be processed after several attempts. Quote the id {id_} to your administrator."


class _Alone:
    """The view of a processor that no runtime calls: nothing is unpublished, nothing waits."""

    def publication(self, position: str) -> Publication:
        """Nobody was here before."""
        return Publication.COMMITTED

    def waiting(self, raw: RawRecord) -> Sequence[RawRecord]:
        """Nobody comes after."""
        return ()


def outputs_for(record: Record, stored: bytes) -> Sequence[Output]:
    """What this record must publish of an input that was processed before: all of it, or nothing.

    All where this record is redelivered, since nobody has committed its outputs with its offset. Nothing where it is a
    second record of the same input (a producer tried again): the first one is answerable for the outputs, and outside
    readers would see them twice.
    """
    outputs, source = decode_outputs(stored)
    return outputs if source == record.raw.position else ()


def _traceparent(record: Record) -> str | None:
    """The trace that outputs belong to: the span of this record where tracing is on, else the one that it came with."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent") or record.envelope.traceparent
