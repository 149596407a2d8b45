"""The tools processor: every requested tool call is made at most once, and always answered.

The ledger is written before the call and after it, both times on a condition. A worker that dies in between leaves `sent`
behind; the next owner of the slot then checks by a read whether the call happened, or says that nobody knows.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from connectors.toolset import Call, ToolOutcome, ToolSpec
from connectors.toolsets import Toolsets
from processors.settings_cache import TenantCache, UserCache
from processors.tools.decisions import Step, next_step, run_that_asks
from schemas import (
    Action,
    ActiveRun,
    AgentSettings,
    Envelope,
    LedgerEntry,
    Output,
    RawRecord,
    Record,
    Tenant,
    ToolRequest,
    ToolResult,
    ToolStatus,
    Topic,
    UnreadableBody,
    UnreadableRow,
    audit_output,
    derived_id,
    storable_text,
)
from schemas.common.clock import Clock, utc_now
from schemas.common.recent import pause_after
from schemas.ids import random_digits
from state import REPEATS, Journal, ToolLedger
from streams import Reject, Retry, RuntimeView
from threads.calls import is_call_of

log = logging.getLogger("cauce.tools")

SOURCE = "cauce/tools"
ATTEMPTS = 6
"""Attempts at one call that were certainly not executed, before the model is informed."""
MAX_DELAY = 30.0
LONGEST_RESULT = 70_000
"""Characters of a result, whatever it says; a toolset cuts what is longer before, with a note."""

_NOT_KNOWN = (
    "It is not known whether {name} was executed: the connection broke before the response arrived. It will not be repeated. "
    "Check by hand, or with a tool that reads, before trying again."
)
_NOT_ASKED = "no run of the thread asks for this call: it has ended, or nobody approved it, or it never was"
_CLOCKS = timedelta(hours=12)
"""By how much clocks of two workers may differ: a request's time is of one, its entry's of another."""
_TOO_OLD = (
    "Not called: the request for {name} is older than the record of calls, so it is not known whether it was executed before. "
    "Check by hand, or with a tool that reads, before trying again."
)


class ToolsProcessor:
    """See `streams.Processor` for the contract."""

    def __init__(
        self,
        ledger: ToolLedger,
        tenants: TenantCache,
        toolsets: Toolsets,
        journal: Journal,
        *,
        users: UserCache | None = None,
        now: Clock = utc_now,
    ) -> None:
        self._users = users
        self._ledger, self._tenants, self._toolsets, self._now = ledger, tenants, toolsets, now
        self._journal = journal

    async def process(self, record: Record) -> Sequence[Output]:
        """Makes the call, or returns the stored result of one that was made before."""
        request: ToolRequest = record.body
        tenant = await self._tenants.get(record.tenant_id)
        if tenant is None:
            raise Reject(f"there is no tenant {record.tenant_id!r}")
        tool = await self._toolsets.find(request.name)
        agents = tenant.agents
        if tool is None or tool.side_effects or not all(agent.allows(tool.name) for agent in agents):
            run = await self._asked(record)
            if run is None and (settled := await self._without_a_run(record, tool)) is not None:
                return settled
            # Of one that a previous owner may have sent, and whose run has ended since, the outcome is found out all the same.
            agents = tuple(agent for agent in agents if run is None or agent.agent_id == run.agent_id)
        if tool is None:
            return await self._refuse(record, None, f"There is no tool named {request.name!r}.")
        if refusal := _refusal(tenant, agents, tool) or await self._blocked(record):
            return await self._refuse(record, tool, refusal)
        if not tool.repeatable and await self._forgotten(record):
            return self._unsettled(record, request.name, "unknown", _TOO_OLD.format(name=request.name))
        owner = random_digits(16)
        mine = self._entry(record, owner, attempts=1)
        entry = await self._ledger.claim(record.tenant_id, mine)
        step = next_step(entry, repeatable=tool.repeatable)
        if entry is None:
            return await self._carry_out(record, mine, step, tool)
        if step is Step.ANSWER:
            return self._answer(record, entry)
        if not await self._take(record, entry, step, owner):
            raise Retry(0.05, "another owner moved this call on")
        mine = self._entry(record, owner, attempts=entry.attempts)
        if step is Step.SEND:
            mine = mine.model_copy(update={"attempts": entry.attempts + 1})
        else:
            mine = mine.model_copy(update={"updated_at": entry.updated_at})
        return await self._carry_out(record, mine, step, tool)

    async def _blocked(self, record: Record) -> str | None:
        user = await self._users.get(record.tenant_id, record.body.user_id) if self._users else None
        return "The user is blocked; no tools are called." if user and user.blocked else None

    async def give_up(self, record: Record, reason: str) -> Sequence[Output]:
        """The call gets a result in any case: otherwise its run would never end."""
        if isinstance(record.body, UnreadableBody):
            return self._unreadable(record, reason)
        try:
            entry = await self._ledger.get(record.tenant_id, record.body.call_id)
        except UnreadableRow:
            # Whether it was called is in the row that cannot be read.
            return self._unsettled(record, record.body.name, "unknown", _NOT_KNOWN.format(name=record.body.name))
        if entry and entry.state in ("done", "unknown"):
            return self._answer(record, entry)
        if entry and entry.state == "sent":
            return await self._settle(record, entry, "unknown", _NOT_KNOWN.format(name=record.body.name), 0.0)
        if entry is None and await self._forgotten(record):
            return self._unsettled(record, record.body.name, "unknown", _TOO_OLD.format(name=record.body.name))
        text = f"{record.body.name} could not be called: processing failed repeatedly. The workers' log has the cause."
        return await self._settle(record, entry, "error", text, 0.0)

    async def _asked(self, record: Record) -> ActiveRun | None:
        """The run that asks for exactly this call, as its thread's stored head says; None where nothing does. A record alone
        causes no side effect: a call is asked for once its policy allows it, or its user has approved it."""
        request: ToolRequest = record.body
        assert record.thread
        head = (await self._journal.hydrate(*record.thread, window=0)).head
        return run_that_asks(head, request) if head else None

    async def _without_a_run(self, record: Record, tool: ToolSpec | None) -> Sequence[Output] | None:
        """The result of a request that no run asks for. None where an owner before may have sent the call: its outcome is
        found out as of any other."""
        entry = await self._ledger.get(record.tenant_id, record.body.call_id)
        if entry is None and await self._is_over(record):
            # A claim that was given up may still be on its way to the store. An entry that is there first keeps it out.
            return await self._refuse(record, tool, f"Not called: {_NOT_ASKED}.")
        if entry is None or entry.source not in ("", record.raw.position):
            return self._passed_over(record)
        if entry.state == "intent":  # it was tried, and its run has ended since
            return await self._refuse(record, tool, f"Not called: {_NOT_ASKED}.")
        return None

    async def _is_over(self, record: Record) -> bool:
        """Whether the run that this call would be of has ended, so that nobody will ever ask for it."""
        request: ToolRequest = record.body
        assert record.thread
        if not is_call_of(request.call_id, request.run_id):
            return False
        return bool(await self._journal.runs(*record.thread, run_id=request.run_id))

    def _passed_over(self, record: Record) -> Sequence[Output]:
        """The audit event of a request that its thread does not ask for: nobody waits for a result."""
        request: ToolRequest = record.body
        assert record.thread
        return [
            audit_output(
                tenant_id=record.tenant_id,
                at=self._now(),
                action=Action.TOOL_REFUSED,
                actor=f"tool:{request.name}",
                source=SOURCE,
                id_parts=(request.call_id, record.raw.position),
                traceparent=record.envelope.traceparent,
                outcome="refused",
                thread_id=record.thread.thread_id,
                run_id=request.run_id,
                subject=request.call_id,
                reason=_NOT_ASKED,
            )
        ]

    async def _forgotten(self, record: Record) -> bool:
        """Whether an entry of the call may have existed and been erased: a dead letter can be replayed even later."""
        old = self._now() - record.envelope.time > REPEATS - _CLOCKS
        return old and await self._ledger.get(record.tenant_id, record.body.call_id) is None

    def _unreadable(self, record: Record, reason: str) -> Sequence[Output]:
        """An unreadable request was certainly not executed."""
        return self._unsettled(record, "unknown", "error", f"Not called: the request could not be read: {reason}.")

    def _unsettled(self, record: Record, name: str, status: ToolStatus, content: str) -> Sequence[Output]:
        """A result beside the ledger. The request's id is the call's (`ToolRequest`)."""
        call_id = record.envelope.id
        result = ToolResult(
            call_id=call_id,
            run_id=call_id.rsplit(".", 2)[0] or call_id,
            name=name,
            status=status,
            content=content,
            finished_at=self._now(),
        )
        record_id = derived_id("tr", record.tenant_id, call_id)
        envelope = Envelope(record_id, ToolResult.TYPE, SOURCE, record.tenant_id, result.finished_at)
        return [Output.of(Topic.TOOL_RESULTS, record.key, result, envelope)]

    def attach(self, runtime: RuntimeView) -> None:
        """One topic, whose records are redelivered in order."""

    def arrived(self, raw: RawRecord) -> None:
        """Nothing in this group is urgent."""

    async def _refuse(self, record: Record, tool: ToolSpec | None, text: str) -> Sequence[Output]:
        """Settles a call that may not be made. One that a previous owner may have sent is not called refused."""
        entry = await self._ledger.get(record.tenant_id, record.body.call_id)
        if entry and entry.result:
            return self._answer(record, entry)
        if entry and entry.state == "sent" and not (tool and tool.read_only):
            return await self._settle(record, entry, "unknown", _NOT_KNOWN.format(name=record.body.name), 0.0)
        return await self._settle(record, entry, "refused", text, 0.0)

    async def _take(self, record: Record, entry: LedgerEntry, step: Step, owner: str) -> bool:
        tenant_id, call_id, now = record.tenant_id, record.body.call_id, self._now()
        if step is Step.SEND:
            return await self._ledger.send(tenant_id, call_id, owner=owner, at=now)
        # The time of the send stays: whoever takes over after this owner looks for an effect since then, too.
        at = now if step is Step.REPEAT else entry.updated_at
        return await self._ledger.take_over(tenant_id, call_id, previous_owner=entry.owner, owner=owner, at=at)

    async def _carry_out(self, record: Record, entry: LedgerEntry, step: Step, tool: ToolSpec) -> Sequence[Output]:
        """Sends the call, which this owner has claimed, or checks its outcome."""
        request: ToolRequest = record.body
        call = Call(
            call_id=request.call_id,
            tool=tool,
            arguments=request.arguments,
            tenant_id=record.tenant_id,
            user_id=request.user_id,
        )
        started = time.monotonic()
        if step is Step.CHECK:
            outcome = await self._toolsets.reconcile(call, entry.updated_at) or ToolOutcome("unknown")
        else:
            outcome = await self._toolsets.call(call)
            if outcome.kind == "unknown" and not tool.repeatable:
                outcome = await self._toolsets.reconcile(call, entry.updated_at) or outcome
        seconds = time.monotonic() - started
        if outcome.kind in ("retry", "halt") or (outcome.kind == "unknown" and tool.repeatable):
            return await self._again(record, entry, tool, outcome, seconds)
        status, text = _result_of(outcome, tool)
        return await self._settle(record, entry, status, text, seconds)

    async def _again(
        self, record: Record, entry: LedgerEntry, tool: ToolSpec, outcome: ToolOutcome, seconds: float
    ) -> Sequence[Output]:
        """The call was certainly not executed, or repeating it is harmless: retries it later, or informs the model."""
        if entry.attempts >= ATTEMPTS and outcome.kind == "unknown" and tool.side_effects:
            return await self._settle(record, entry, *_result_of(outcome, tool), seconds)
        if outcome.kind != "halt" and entry.attempts >= ATTEMPTS:
            text = f"{entry.name} failed {entry.attempts} times: {outcome.message or 'the service does not answer'}."
            return await self._settle(record, entry, "error", text, seconds)
        await self._ledger.withdraw(record.tenant_id, entry.call_id, owner=entry.owner, at=self._now())
        delay = MAX_DELAY if outcome.kind == "halt" else pause_after(entry.attempts, 0.5, MAX_DELAY)
        if outcome.kind == "halt":
            log.error("tool calls are halted: %s", outcome.message)
        raise Retry(max(delay, outcome.retry_after or 0.0), outcome.message)

    async def _settle(
        self, record: Record, entry: LedgerEntry | None, status: ToolStatus, text: str, seconds: float
    ) -> Sequence[Output]:
        """Writes the result to the ledger, and returns the result that the ledger then has."""
        request: ToolRequest = record.body
        result = ToolResult(
            call_id=request.call_id,
            run_id=request.run_id,
            name=request.name,
            status=status,
            content=_fitting(text),
            finished_at=self._now(),
            duration_ms=round(seconds * 1000, 1),
        )
        state = "unknown" if status == "unknown" else "done"
        if entry is None:
            settled = self._entry(record, "", attempts=0).model_copy(update={"state": state, "result": result})
            there = await self._ledger.claim(record.tenant_id, settled)
        else:
            settled = entry.model_copy(update={"state": state, "result": result})
            mine = await self._ledger.finish(
                record.tenant_id, request.call_id, owner=entry.owner, result=result, at=self._now()
            )
            there = None if mine else await self._ledger.get(record.tenant_id, request.call_id)
        if there is not None and there.result is None:
            raise Retry(0.05, "another owner moved this call on")
        return self._answer(record, there or settled)

    def _entry(self, record: Record, owner: str, *, attempts: int) -> LedgerEntry:
        request: ToolRequest = record.body
        assert record.thread
        now = self._now()
        return LedgerEntry(
            call_id=request.call_id,
            run_id=request.run_id,
            thread_id=record.thread.thread_id,
            user_id=request.user_id,
            name=request.name,
            source=record.raw.position,
            state="sent",
            owner=owner,
            attempts=attempts,
            created_at=now,
            updated_at=now,
        )

    def _answer(self, record: Record, entry: LedgerEntry) -> Sequence[Output]:
        """The settled call's result and audit event; nothing for a second record that asks for the same call, since the
        first one is answerable for them. An entry without a source was recovered and answers whoever asks."""
        if entry.source and entry.source != record.raw.position:
            return ()
        result = entry.result
        assert result, "a settled call has a result"
        at, trace = result.finished_at, record.envelope.traceparent
        # The thread may have passed over a result of a recovered call before it asked again.
        asked_by = () if entry.source else (record.raw.position,)
        record_id = derived_id("tr", record.tenant_id, entry.call_id, *asked_by)
        envelope = Envelope(record_id, ToolResult.TYPE, SOURCE, record.tenant_id, at, trace)
        outcome = {"ok": "ok", "refused": "refused", "unknown": "unknown"}.get(result.status, "failed")
        return [
            Output.of(Topic.TOOL_RESULTS, record.key, result, envelope),
            audit_output(
                tenant_id=record.tenant_id,
                at=at,
                action=Action.TOOL_REFUSED if result.status == "refused" else Action.TOOL_EXECUTED,
                actor=f"tool:{entry.name}",
                source=SOURCE,
                id_parts=(entry.call_id,),
                traceparent=trace,
                outcome=outcome,
                user_id=entry.user_id,
                thread_id=entry.thread_id,
                run_id=entry.run_id,
                subject=entry.call_id,
                details={"duration_ms": result.duration_ms, "attempts": entry.attempts},
            ),
        ]


def _fitting(text: str) -> str:
    """What a tool or a service said, as a record can hold it."""
    return storable_text(text if len(text) <= LONGEST_RESULT else text[: LONGEST_RESULT - 1] + "…")


def _refusal(tenant: Tenant, agents: Sequence[AgentSettings], tool: ToolSpec) -> str | None:
    """Why these agents may not use this tool; what the model was shown is no boundary, so it is checked again here."""
    if tenant.state != "active":
        return f"The tenant is {tenant.state}; no tools are called."
    if not any(agent.allows(tool.name) for agent in agents):
        return f"The tool {tool.name} is not allowed here."
    return None


def _result_of(outcome: ToolOutcome, tool: ToolSpec) -> tuple[ToolStatus, str]:
    """Status and text for the model."""
    if outcome.kind == "ok":
        text = outcome.value if isinstance(outcome.value, str) else json.dumps(outcome.value, ensure_ascii=False)
        return "ok", text
    if outcome.kind == "unknown":
        return "unknown", _NOT_KNOWN.format(name=tool.name)
    if outcome.kind == "needs_authorization":
        provider = tool.provider or "the account"
        return (
            "refused",
            f"The user's {provider} account is not connected, so {tool.name} cannot be called. {outcome.message}",
        )
    if outcome.kind == "refused":
        return "refused", outcome.message or f"{tool.name} was refused."
    return "error", outcome.message or f"{tool.name} failed."
