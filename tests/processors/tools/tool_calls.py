"""Requests as records, results out of outputs, and workers that die."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.arcade import ArcadeClient, ArcadeToolset
from connectors.toolset import Toolset
from connectors.toolsets import Toolsets
from processors.settings_cache import TenantCache, UserCache
from processors.tools.processor import ToolsProcessor
from schemas import (
    ActiveRun,
    AuditEvent,
    Commit,
    Envelope,
    Output,
    PendingCall,
    RawRecord,
    Record,
    StoredRun,
    Tenant,
    ThreadHead,
    ToolCall,
    ToolRequest,
    ToolResult,
    Topic,
    decode,
    new_id,
)
from state import Committed, Journal, Stores, ToolLedger

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SENT = datetime.now(UTC)
"""When requests were sent: processors look how long ago."""
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Workers:
    """Makes processors as workers do, each new one with nothing in memory."""

    def __init__(self, stores: Stores, client: ArcadeClient, *others: Toolset) -> None:
        self._stores, self._toolsets = stores, Toolsets([ArcadeToolset(client), *others])

    def processor(self, ledger: ToolLedger | None = None) -> ToolsProcessor:
        tenants = TenantCache(self._stores.directory)
        users = UserCache(self._stores.directory)
        return _Asked(ledger or self._stores.ledger, tenants, self._toolsets, self._stores.journal, users=users)

    def unasked(self) -> ToolsProcessor:
        """A processor whose requests no thread has asked for, unless a test says so itself."""
        tenants, users = TenantCache(self._stores.directory), UserCache(self._stores.directory)
        return ToolsProcessor(self._stores.ledger, tenants, self._toolsets, self._stores.journal, users=users)


class _Asked(ToolsProcessor):
    """Has the thread of each request ask for it first, as turns do."""

    async def process(self, record: Record) -> Sequence[Output]:
        if isinstance(record.body, ToolRequest):
            await ask(self._journal, record)
        return await super().process(record)


async def ask(journal: Journal, record: Record, **changes: Any) -> None:
    """Stores a head of the record's thread that asks for its call, too; `changes` are of the pending call."""
    body: ToolRequest = record.body
    assert record.thread
    call = ToolCall(call_id=body.call_id, name=body.name, arguments=body.arguments)
    about: dict[str, Any] = {"user_id": body.user_id, "started_at": SENT, "resumed_at": SENT, "first_message": 1}
    run = ActiveRun(input_id=body.run_id, run_id=body.run_id, agent_id="default", at=SENT, **about)
    asked = PendingCall(call=call, state="running").model_copy(update=changes)
    while True:
        found = await journal.hydrate(*record.thread, window=0)
        known = {p.call.call_id: p for p in found.head.pending} if found.head else {}
        pending = tuple((known | {body.call_id: asked}).values())
        head = ThreadHead(user_id=body.user_id, created_at=SENT, updated_at=SENT, run=run, pending=pending)
        made = Commit(input_id=new_id("in"), expected_version=found.version, head=head, outputs=b"")
        if isinstance(await journal.commit(*record.thread, made), Committed):  # else another one was faster
            return


async def end_run(journal: Journal, record: Record) -> None:
    """The run of `ask` is cancelled."""
    assert record.thread
    found = await journal.hydrate(*record.thread, window=0)
    assert found.head
    assert found.head.run
    run = found.head.run
    times = {"accepted_at": SENT, "ended_at": SENT, "first_event": 1, "last_event": 2}
    over = StoredRun(run_id=run.run_id, input_id=run.input_id, outcome="cancelled", **times)
    head = found.head.model_copy(update={"run": None, "pending": ()})
    made = Commit(input_id=new_id("in"), expected_version=found.version, head=head, outputs=b"", runs=(over,))
    assert isinstance(await journal.commit(*record.thread, made), Committed)


def request(
    name: str,
    arguments: dict[str, Any],
    *,
    call_id: str = "c1",
    tenant_id: str = "acme",
    user_id: str = "u1",
    sent: datetime = SENT,
) -> Record:
    """The record of a request as it comes from Kafka."""
    body = ToolRequest(call_id=call_id, run_id="r1", user_id=user_id, name=name, arguments=arguments)
    envelope = Envelope(call_id, ToolRequest.TYPE, "cauce/turns", tenant_id, sent, TRACE)
    key = f"{tenant_id}:t1".encode()
    return decode(RawRecord(Topic.TOOL_REQUESTS.value, 0, 7, 0, key, body.to_bytes(), envelope.headers()))


def send_mail(subject: str) -> Record:
    return request("Gmail_SendEmail", {"subject": subject, "body": "Hello", "recipient": "ana@correo.example"})


def result_of(outputs: Sequence[Output]) -> ToolResult:
    """The result among outputs, each of which must be fit to be read by others."""
    assert [output.topic for output in outputs] == [Topic.TOOL_RESULTS, Topic.AUDIT_EVENTS]
    result, audit = (
        decode(RawRecord(o.topic.value, 0, n, 0, o.key.encode(), o.value, o.headers)) for n, o in enumerate(outputs)
    )
    assert (result.key, audit.key) == ("acme:t1", "acme")
    assert result.envelope.traceparent == audit.envelope.traceparent == TRACE
    assert isinstance(result.body, ToolResult)
    return result.body


def audit_of(outputs: Sequence[Output]) -> AuditEvent:
    return AuditEvent.model_validate_json(outputs[1].value)


async def put(stores: Stores, **fields: Any) -> None:
    tenant = Tenant(tenant_id="acme", created_at=NOON, version=2, **fields)
    assert await stores.directory.put_tenant(tenant, expected_version=1)


class WorkerDied(BaseException):
    """The end of a worker's process, as far as its code can tell."""


class DyingLedger:
    """A ledger whose worker dies at the first call of one of its methods, before or after that took effect."""

    def __init__(self, ledger: ToolLedger, method: str, *, after: bool) -> None:
        self._ledger, self._method, self._after = ledger, method, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._ledger, name)

        async def dying(*args: Any, **kwargs: Any) -> None:
            if self._after:
                await real(*args, **kwargs)
            raise WorkerDied

        return dying if name == self._method else real


async def die(workers: Workers, ledger: ToolLedger, record: Record, method: str, *, after: bool) -> None:
    dying: Any = DyingLedger(ledger, method, after=after)
    with pytest.raises(WorkerDied):
        await workers.processor(dying).process(record)


async def until_sent(ledger: ToolLedger) -> None:
    while True:
        entry = await ledger.get("acme", "c1")
        if entry is not None and entry.state == "sent":
            return
        await asyncio.sleep(0.005)
