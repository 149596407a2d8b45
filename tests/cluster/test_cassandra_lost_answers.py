"""A conditional write whose answer is lost: looked up, decided, never done twice."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cql_proxy import CqlProxy, Loss

from deploy.cluster import CassandraServer
from schemas import (
    AuditEvent,
    LedgerEntry,
    Message,
    StateRow,
    StoredEvent,
    StoredMessage,
    Tenant,
    ThreadHead,
    ToolResult,
    Unavailable,
)
from state import AlreadyDone, AssistantRow, AuditRow, Commit, Committed, Hydrated, Stale, Stores, open_stores

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
async def proxy(cassandra: CassandraServer) -> AsyncIterator[CqlProxy]:
    async with CqlProxy(cassandra.port) as proxy:
        yield proxy


@pytest.fixture
async def stores(proxy: CqlProxy) -> AsyncIterator[Stores]:
    stores = open_stores(f"cassandra://127.0.0.1:{proxy.port}/lost_answers?rf=1&request_timeout=3")
    await stores.open()
    await stores.migrate()
    yield stores
    await stores.close()


@pytest.fixture
def tenant() -> str:
    return f"t-{secrets.token_hex(6)}"


def a_turn(n: int, text: str = "hello", *, input_id: str | None = None, events: int = 1) -> Commit:
    message = Message(message_id=f"m{n}", role="user", text=text, run_id="r1", at=NOON)
    return Commit(
        input_id=input_id or f"input-{n}",
        expected_version=n,
        head=ThreadHead(user_id="u1", created_at=NOON, updated_at=NOON, next_message=n + 2),
        outputs=text.encode(),
        messages=(StoredMessage(seq=n + 1, message=message),),
        events=tuple(StoredEvent(seq=n * events + k + 1, type="x", body=text) for k in range(events)),
    )


def an_entry(call_id: str, **fields: Any) -> LedgerEntry:
    values: dict[str, Any] = {
        "call_id": call_id,
        "run_id": "r1",
        "thread_id": "th",
        "user_id": "u1",
        "name": "Gmail_SendEmail",
        "source": "tool.requests/0/7",
        "state": "intent",
        "owner": "me",
        "created_at": NOON,
        "updated_at": NOON,
    }
    return LedgerEntry(**(values | fields))


@pytest.mark.parametrize("loss", ["request", "answer"])
@pytest.mark.parametrize("version", [0, 1])
async def test_turn_whose_answer_is_lost_is_committed_once(
    stores: Stores, proxy: CqlProxy, tenant: str, loss: Loss, version: int
) -> None:
    for n in range(version):
        await stores.journal.commit(tenant, "th", a_turn(n))
    turn = a_turn(version, input_id=f"lost-{tenant}")
    proxy.lose(loss, turn.input_id)

    assert await stores.journal.commit(tenant, "th", turn) == Committed(version + 1)

    assert proxy.losses == 1
    thread = await stores.journal.hydrate(tenant, "th", window=9, input_id=turn.input_id)
    messages = tuple(m for n in range(version) for m in a_turn(n).messages) + turn.messages
    assert thread == Hydrated(version + 1, turn.head, messages, b"hello")


def a_superstep(turn: Commit, checkpoint: str) -> Commit:
    rows = (
        StateRow(seq=2, kind="checkpoint", body=checkpoint.encode()),
        StateRow(seq=1, kind="value", body=b"a value"),
    )
    return replace(turn, rows=rows, final=False)


@pytest.mark.parametrize("loss", ["request", "answer"])
@pytest.mark.parametrize("with_rows", [True, False])
async def test_superstep_whose_answer_is_lost_is_committed_once_and_its_turn_goes_on(
    stores: Stores, proxy: CqlProxy, tenant: str, loss: Loss, with_rows: bool
) -> None:
    turn = a_turn(0, input_id=f"lost-{tenant}")
    superstep = a_superstep(turn, "ours") if with_rows else replace(turn, final=False)
    await stores.journal.commit(tenant, "warm", replace(superstep, input_id="warm"))
    proxy.lose(loss, turn.input_id)

    assert await stores.journal.commit(tenant, "th", superstep) == Committed(1)

    assert proxy.losses == 1
    thread = await stores.journal.hydrate(tenant, "th", window=9, input_id=turn.input_id)
    assert thread == Hydrated(1, turn.head, turn.messages, None)
    assert await stores.journal.checkpoints(tenant, "th") == list(superstep.rows[:1])
    last = a_turn(1, "the end", input_id=turn.input_id)
    assert await stores.journal.commit(tenant, "th", last) == Committed(2)
    assert await stores.journal.outputs_of(tenant, "th", turn.input_id) == b"the end"


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_superstep_of_a_rival_with_the_same_head_is_not_taken_for_ours_when_the_answer_is_lost(
    stores: Stores, proxy: CqlProxy, tenant: str, loss: Loss
) -> None:
    turn = a_turn(0)
    await stores.journal.commit(tenant, "th", a_superstep(turn, "theirs"))
    proxy.lose(loss, "our-checkpoint")
    assert await stores.journal.commit(tenant, "th", a_superstep(turn, "our-checkpoint")) == Stale()
    assert proxy.losses == 1
    assert [row.body for row in await stores.journal.checkpoints(tenant, "th")] == [b"theirs"]


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_superstep_of_a_turn_that_a_rival_ended_gets_its_outputs_when_the_answer_is_lost(
    stores: Stores, proxy: CqlProxy, tenant: str, loss: Loss
) -> None:
    turn = a_turn(0, "of the rival")
    await stores.journal.commit(tenant, "th", turn)
    proxy.lose(loss, "our-checkpoint")
    superstep = a_superstep(turn, "our-checkpoint")
    assert await stores.journal.commit(tenant, "th", superstep) == AlreadyDone(b"of the rival")
    assert proxy.losses == 1


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_changes_of_assistants_whose_answers_are_lost_happen_once(
    stores: Stores, proxy: CqlProxy, tenant: str, loss: Loss
) -> None:
    assistants, name, warm = stores.assistants, f"a-{tenant}", f"warm-{tenant}"
    # Statements that were never used are prepared first, in a request that does not have the marker.
    await assistants.put(warm, AssistantRow("w", 1, b""), expected_version=0)
    await assistants.choose(warm, "w", 1)
    await assistants.delete(warm, "w")

    proxy.lose(loss, "body-1")
    assert await assistants.put(tenant, AssistantRow(name, 1, b"body-1"), expected_version=0)
    proxy.lose(loss, "body-2")
    assert await assistants.put(tenant, AssistantRow(name, 2, b"body-2"), expected_version=1)
    proxy.lose(loss, "body-3")
    assert not await assistants.put(tenant, AssistantRow(name, 2, b"body-3"), expected_version=1)
    proxy.lose(loss, "body-1")
    assert await assistants.choose(tenant, name, 1)
    assert await assistants.get(tenant, name) == AssistantRow(name, 1, b"body-1")
    proxy.lose(loss, name, after=1)  # the read before it passes
    assert await assistants.delete(tenant, name)

    assert proxy.losses == 5
    assert (await assistants.list(tenant), await assistants.versions(tenant, name)) == ([], [])


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_ledger_moves_whose_answers_are_lost_happen_once(
    stores: Stores, proxy: CqlProxy, tenant: str, loss: Loss
) -> None:
    ledger, call = stores.ledger, f"call-{tenant}"
    # Statements that were never used are prepared first, in a request that does not have the marker.
    await ledger.claim(tenant, an_entry("warm", owner="a"))
    assert await ledger.send(tenant, "warm", owner="a", at=NOON)
    assert await ledger.withdraw(tenant, "warm", owner="a", at=NOON)
    assert await ledger.send(tenant, "warm", owner="b", at=NOON)
    assert await ledger.take_over(tenant, "warm", previous_owner="b", owner="c", at=NOON)

    proxy.lose(loss, call)
    assert await ledger.claim(tenant, an_entry(call, owner="claimer")) is None
    proxy.lose(loss, "sender-1")
    assert await ledger.send(tenant, call, owner="sender-1", at=NOON)
    proxy.lose(loss, "sender-1")
    assert await ledger.withdraw(tenant, call, owner="sender-1", at=NOON)
    assert await ledger.send(tenant, call, owner="sender-2", at=NOON)
    proxy.lose(loss, "sender-3")
    assert await ledger.take_over(tenant, call, previous_owner="sender-2", owner="sender-3", at=NOON)
    result = ToolResult(call_id=call, run_id="r1", name="x", status="ok", content="the content", finished_at=NOON)
    proxy.lose(loss, "the content")
    assert await ledger.finish(tenant, call, owner="sender-3", result=result, at=NOON)

    assert proxy.losses == 5
    assert await ledger.get(tenant, call) == an_entry(call, owner="sender-3", attempts=2, state="done", result=result)


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_claim_of_somebody_else_is_seen_through_a_lost_answer(
    stores: Stores, proxy: CqlProxy, tenant: str, loss: Loss
) -> None:
    theirs = an_entry("c1", owner="they", state="sent")
    await stores.ledger.claim(tenant, theirs)
    proxy.lose(loss, "mine-mine")
    assert await stores.ledger.claim(tenant, an_entry("c1", owner="mine-mine")) == theirs
    assert proxy.losses == 1


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_tenant_and_attempt_whose_answers_are_lost_are_written_once(
    stores: Stores, proxy: CqlProxy, tenant: str, loss: Loss
) -> None:
    await stores.directory.put_tenant(Tenant(tenant_id="warm", created_at=NOON, version=2), expected_version=1)
    proxy.lose(loss, "the-name")
    assert await stores.directory.put_tenant(
        Tenant(tenant_id=tenant, name="the-name", created_at=NOON), expected_version=0
    )
    assert await stores.attempts.begin(f"g-{tenant}", "warm", 0, 1) == 1
    proxy.lose(loss, f"h-{tenant}", after=1)  # the read of the count passes
    assert await stores.attempts.begin(f"h-{tenant}", "topic", 0, 1) == 1
    assert await stores.attempts.begin(f"h-{tenant}", "topic", 0, 1) == 2
    assert proxy.losses == 2


@pytest.mark.parametrize("loss", ["request", "answer"])
async def test_audit_row_whose_answer_is_lost_is_written_again(
    stores: Stores, proxy: CqlProxy, tenant: str, loss: Loss
) -> None:
    rows = [
        AuditRow(
            event_id=f"e{n}", position=n, event=AuditEvent(at=NOON, action="login", actor="system", subject=tenant)
        )
        for n in range(3)
    ]
    await stores.audit.append(tenant, rows[:1])
    proxy.lose(loss, tenant)
    async with asyncio.timeout(120):
        while not await _appended(stores, tenant, rows):
            pass
    assert proxy.losses == 1
    assert await stores.audit.tail(tenant) == rows


async def _appended(stores: Stores, tenant: str, rows: list[AuditRow]) -> bool:
    try:
        await stores.audit.append(tenant, rows)
    except Unavailable:
        await asyncio.sleep(0.05)
        return False
    return True


async def test_bytes_sent_a_turn_do_not_grow_with_the_conversation(
    stores: Stores, proxy: CqlProxy, tenant: str
) -> None:
    sent = []
    for n in range(255):
        before = proxy.sent
        assert await stores.journal.commit(tenant, "th", a_turn(n, "x" * 600, events=4)) == Committed(n + 1)
        sent.append(proxy.sent - before)
    early, late = sorted(sent[3:8])[2], sorted(sent[248:253])[2]  # medians: a heartbeat may fall into one of them
    assert late <= 1.2 * early, (early, late)
    assert late > 3_000
