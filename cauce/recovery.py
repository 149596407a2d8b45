"""Brings a store that was restored from a backup up to date from the topics (docs/operations.md).

Threads come from `chat.responses`, the ledger from `tool.requests` and `tool.results`, the audit trail from `audit.events`, which
its group reads again. No model and no tool is called.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from processors.groups import GROUPS
from processors.turns.new_inputs import new_input
from schemas import (
    BadRecord,
    ExternalEvent,
    GraphInput,
    Input,
    LedgerEntry,
    Record,
    ThreadEvent,
    ThreadKey,
    ToolResult,
    Topic,
    UserMessage,
    decode,
    encode_outputs,
)
from schemas.common.clock import utc_now
from state import Commit, Committed, Stores
from streams.kafka_servers import Kafka
from streams.reading import read_since, require_no_members, set_back
from threads.replay import Gap, Replayed

MARGIN = timedelta(hours=1)
"""How long before the backup reading starts: clocks differ, and calls are requested before their results arrive."""
EVENTS_A_COMMIT = 200
READ = (
    Topic.CHAT_MESSAGES,
    Topic.EXTERNAL_EVENTS,
    Topic.CHAT_RESPONSES,
    Topic.TOOL_REQUESTS,
    Topic.TOOL_RESULTS,
)


@dataclass
class Recovered:
    """What was written. `gaps` are threads whose events are no longer all in the topic, with the reason."""

    threads: int = 0
    events: int = 0
    calls: int = 0
    unknown: int = 0
    """Calls without a known result: they may have been executed, and are not repeated."""
    gaps: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Positions in the topics that cannot be read, with the reason."""


@dataclass
class _Found:
    events: dict[ThreadKey, list[ThreadEvent]] = field(default_factory=lambda: defaultdict(list))
    queueable: dict[ThreadKey, dict[str, Input]] = field(default_factory=lambda: defaultdict(dict))
    requests: dict[str, Record] = field(default_factory=dict)
    results: dict[str, ToolResult] = field(default_factory=dict)


async def recover(bootstrap: Kafka, stores: Stores, since: datetime) -> Recovered:
    """Adds to a store that was backed up at `since` what is committed in the topics. Workers must not run.

    Safe to repeat. Raises `SettingsError` when a worker runs, `Unavailable` when a server does not answer.
    """
    await require_no_members(bootstrap, {name: group.reads for name, group in GROUPS.items()})
    recovered = Recovered()
    found = await _read(bootstrap, since - MARGIN, recovered)
    for key, events in found.events.items():
        await _recover_thread(stores, key, events, found.queueable[key], recovered)
    for request in found.requests.values():
        await _recover_call(stores, request, found.results.get(request.body.call_id), recovered)
    await set_back(bootstrap, "audit", Topic.AUDIT_EVENTS, since - MARGIN)
    return recovered


async def _read(bootstrap: Kafka, since: datetime, recovered: Recovered) -> _Found:
    found = _Found()
    async for raw in read_since(bootstrap, READ, since, unreadable=recovered.unreadable.append):
        try:
            record = decode(raw)
        except BadRecord:
            continue  # it has become a dead letter
        assert record.thread
        if isinstance(record.body, ThreadEvent):
            found.events[record.thread].append(record.body)
        elif isinstance(record.body, ToolResult):
            found.results[record.body.call_id] = record.body
        elif raw.topic == Topic.TOOL_REQUESTS:
            found.requests.setdefault(record.body.call_id, record)
        elif isinstance(record.body, UserMessage | ExternalEvent | GraphInput):
            new = new_input(record)
            found.queueable[record.thread][new.run_id] = new
    return found


async def _recover_thread(
    stores: Stores, key: ThreadKey, events: list[ThreadEvent], queueable: dict[str, Input], recovered: Recovered
) -> None:
    thread = await stores.journal.hydrate(*key, window=0)
    behind = thread.head.next_event if thread.head else 1
    missing = sorted((e for e in events if e.seq >= behind), key=lambda e: e.seq)
    if not missing:
        return
    replayed, version = Replayed(thread.head, queueable), thread.version
    try:
        for start in range(0, len(missing), EVENTS_A_COMMIT):
            replayed.apply(missing[start : start + EVENTS_A_COMMIT])
            assert replayed.head
            commit = Commit(
                input_id=f"recovered-{replayed.head.next_event}",
                expected_version=version,
                head=replayed.head,
                outputs=encode_outputs([], "recovered"),
                messages=tuple(replayed.messages),
                events=tuple(replayed.events),
                runs=tuple(replayed.runs),
                erase=replayed.erased,
                remove_messages_from=replayed.remove_from,
            )
            result = await stores.journal.commit(*key, commit)
            if not isinstance(result, Committed):
                raise Gap("something else writes to it: stop all workers")
            version = result.version
            recovered.events += len(replayed.events)
            replayed.messages, replayed.events, replayed.runs = [], [], []
            replayed.remove_from, replayed.erased = None, False
    except Gap as gap:
        recovered.gaps.append(f"{key}: {gap}")
    else:
        recovered.threads += 1


async def _recover_call(stores: Stores, request: Record, result: ToolResult | None, recovered: Recovered) -> None:
    """Writes the result of a call, so that it is not repeated. The entry has no source record (`source` is empty)."""
    asked, now = request.body, utc_now()
    assert request.thread
    if result is None:
        content = f"It is not known whether {asked.name} was executed: its records were lost. It will not be repeated."
        result = ToolResult(
            call_id=asked.call_id,
            run_id=asked.run_id,
            name=asked.name,
            status="unknown",
            content=content,
            finished_at=now,
        )
    unknown = result.status == "unknown"
    entry = LedgerEntry(
        call_id=asked.call_id,
        run_id=asked.run_id,
        thread_id=request.thread.thread_id,
        user_id=asked.user_id,
        name=asked.name,
        source="",
        state="unknown" if unknown else "done",
        created_at=now,
        updated_at=now,
        result=result,
    )
    there = await stores.ledger.claim(request.tenant_id, entry)
    if there is not None and there.result is None:
        await stores.ledger.finish(request.tenant_id, asked.call_id, owner=there.owner, result=result, at=now)
    if there is None or there.result is None:
        recovered.calls += 1
        recovered.unknown += unknown
