from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from processors.audit.processor import AuditProcessor
from schemas import REPLAY_OF, AuditEvent, Output, RawRecord, Record, Topic, audit_output, decode
from state import AuditRow, Stores, open_stores

HUGE = b"audit.events/0/" + b"9" * 30
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = open_stores(f"sqlite://{tmp_path}")
    await opened.open()
    await opened.migrate()
    yield opened
    await opened.close()


@pytest.fixture
def processor(stores: Stores) -> AuditProcessor:
    return AuditProcessor(stores.audit)


def happened(call_id: str, *, tenant_id: str = "acme", minutes: int = 0) -> Output:
    return audit_output(
        tenant_id=tenant_id,
        at=NOON + timedelta(minutes=minutes),
        action="tool.executed",
        actor="tool:Gmail_SendEmail",
        source="cauce/tools",
        id_parts=(call_id,),
        traceparent=TRACE,
        outcome="ok",
        user_id="u1",
        thread_id="t1",
        run_id="r1",
        subject=call_id,
        details={"attempts": 1},
    )


def at(offset: int, output: Output) -> Record:
    """The output as it is read from the topic."""
    return decode(RawRecord(output.topic.value, 0, offset, 0, output.key.encode(), output.value, output.headers))


async def test_an_event_is_stored_as_it_was_at_its_place_in_the_topic(
    processor: AuditProcessor, stores: Stores
) -> None:
    record = at(41, happened("c1"))
    assert await processor.process(record) == ()
    assert await stores.audit.tail("acme") == [AuditRow(record.envelope.id, 41, record.body)]


async def test_a_replay_stores_an_event_once(processor: AuditProcessor, stores: Stores) -> None:
    for _ in range(3):
        for offset in range(5):
            await processor.process(at(offset, happened(f"c{offset}")))
    assert [row.position for row in await stores.audit.tail("acme")] == [0, 1, 2, 3, 4]


async def test_an_event_that_is_replayed_goes_to_its_first_place_once(
    processor: AuditProcessor, stores: Stores
) -> None:
    """Also where it had been stored, and only its dead letter was not known to be one."""
    one, two = happened("c1"), happened("c2")
    await processor.process(at(4, one))
    for n, (offset, output) in enumerate(((4, one), (2, two), (2, two))):
        record = at(90 + n, output)
        headers = (*record.raw.headers, (REPLAY_OF, f"audit.events/0/{offset}".encode()))
        await processor.process(replace(record, raw=replace(record.raw, headers=headers)))
    found = await stores.audit.tail("acme")
    assert [(row.position, row.event.subject) for row in found] == [(2, "c2"), (4, "c1")]


@pytest.mark.parametrize("value", [None, b"", b"4", b"a/b/c", b"chat.messages/0/4", b"audit.events/0/-1", HUGE])
async def test_a_place_that_is_none_is_not_used(processor: AuditProcessor, stores: Stores, value: bytes | None) -> None:
    record = at(7, happened("c1"))
    await processor.process(replace(record, raw=replace(record.raw, headers=(*record.raw.headers, (REPLAY_OF, value)))))
    assert [row.position for row in await stores.audit.tail("acme")] == [7]


async def test_a_row_that_the_store_refuses_costs_itself_and_not_its_neighbours(
    processor: AuditProcessor, stores: Stores
) -> None:
    """SQLite has no integer so large; Cassandra has no key so long. Both refuse the whole write."""
    offsets = [1, 2**70, 2, 2**71, 3]
    results = await asyncio.gather(
        *(processor.process(at(offset, happened(f"c{offset}"))) for offset in offsets), return_exceptions=True
    )
    assert [isinstance(result, OverflowError) for result in results] == [False, True, False, True, False]
    assert "too large" in str(results[1])
    assert [row.position for row in await stores.audit.tail("acme")] == [1, 2, 3]


async def test_the_order_is_the_topic_s_and_not_that_of_the_clocks(processor: AuditProcessor, stores: Stores) -> None:
    for offset, minutes in ((0, 9), (2, 1), (1, 5)):
        await processor.process(at(offset, happened(f"c{offset}", minutes=minutes)))
    assert [row.event.subject for row in await stores.audit.tail("acme")] == ["c0", "c1", "c2"]


async def test_a_tenant_sees_its_own_events_only(processor: AuditProcessor, stores: Stores) -> None:
    for offset, tenant_id in enumerate(["acme", "lumen", "acme"]):
        await processor.process(at(offset, happened(f"c{offset}", tenant_id=tenant_id)))
    assert [row.event.subject for row in await stores.audit.tail("acme")] == ["c0", "c2"]
    assert [row.event.subject for row in await stores.audit.tail("lumen")] == ["c1"]


async def test_giving_up_publishes_and_stores_nothing(processor: AuditProcessor, stores: Stores) -> None:
    assert await processor.give_up(at(0, happened("c1")), "fails every time") == ()
    assert await stores.audit.tail("acme") == []


def test_the_same_happening_is_the_same_event_byte_by_byte() -> None:
    assert happened("c1") == happened("c1")
    assert len({at(0, happened(call)).envelope.id for call in ("c1", "c2")}) == 2
    assert at(0, happened("c1", tenant_id="lumen")).envelope.id != at(0, happened("c1")).envelope.id


def test_an_event_can_be_read_by_everybody() -> None:
    record = at(0, happened("c1"))
    assert (record.raw.topic, record.key, record.envelope.traceparent) == (Topic.AUDIT_EVENTS, "acme", TRACE)
    assert isinstance(record.body, AuditEvent)
    assert (record.body.actor, record.body.at) == ("tool:Gmail_SendEmail", NOON)
