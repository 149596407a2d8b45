"""A row of a shape that this version cannot read costs itself: lists are given without it, and reading it says so in words.

The rows are written as a newer version would, with values that the types of this one do not know.
"""

from __future__ import annotations

from typing import Any

import pytest
from listed_threads import threads_of
from state_samples import NOON, accepted, at, commit, entry, event, head, message, run

from schemas import (
    AcceptedRun,
    AuditEvent,
    LedgerEntry,
    OpenInput,
    StoredMessage,
    StoredRun,
    Tenant,
    ThreadHead,
    UnreadableRow,
    User,
)
from state import AuditRow, Committed, Stores

SECRET = "what-nobody-may-see"


class NewerHead(ThreadHead):
    next_message: Any = 1


class NewerRun(StoredRun):
    outcome: Any = "completed"


class NewerAccepted(AcceptedRun):
    at: Any = None


class NewerInput(OpenInput):
    at: Any = None


class NewerEvent(AuditEvent):
    outcome: Any = "ok"


class NewerTenant(Tenant):
    paused: Any = False


class NewerUser(User):
    approvals_allow: Any = ()


class NewerEntry(LedgerEntry):
    call_id: Any = ""
    created_at: Any = None


def newer_message(seq: int) -> StoredMessage:
    kept = message(seq)
    return kept.model_copy(update={"message": kept.message.model_copy(update={"role": SECRET})})


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, once read, of rows that were left out."""
    lines = [record.getMessage() for record in caplog.records if record.name == "cauce.state"]
    caplog.clear()
    assert SECRET not in "".join(lines)
    return lines


async def test_a_head_that_cannot_be_read_is_told_in_words_and_its_thread_stays_in_the_list(
    stores: Stores, tenant: str
) -> None:
    await stores.journal.commit(tenant, "fine", commit("i1", 0))
    newer = NewerHead(**{**head().model_dump(), "next_message": SECRET})
    await stores.journal.commit(tenant, "lost", commit("i2", 0, thread=newer))
    with pytest.raises(UnreadableRow, match=f"the thread lost of {tenant} cannot be read") as refused:
        await stores.journal.hydrate(tenant, "lost", window=10)
    assert SECRET not in str(refused.value)
    assert {line.thread_id for line in await threads_of(stores.journal, tenant, "u1")} == {"fine", "lost"}
    assert (await stores.journal.hydrate(tenant, "fine", window=10)).head == head(updated=0)


async def test_a_thread_whose_head_cannot_be_read_can_be_erased_by_its_numbers(stores: Stores, tenant: str) -> None:
    newer = NewerHead(**{**head().model_dump(), "next_message": SECRET})
    key = (tenant, "lost")
    assert await stores.journal.numbers(*key) == (0, 0)
    first = commit("i1", 0, thread=newer, messages=[message(1)], events=[event(1), event(2)])
    await stores.journal.commit(*key, first)
    assert await stores.journal.numbers(*key) == (1, 2)
    gone = head(updated=9).model_copy(update={"deleted": True})
    last = commit("i2", 1, thread=gone, events=[event(3)], erase=True, remove_messages_from=1)
    assert await stores.journal.commit(*key, last) == Committed(2)
    found = await stores.journal.hydrate(*key, window=9)
    assert (found.head, found.messages) == (gone, ())
    assert await stores.journal.numbers(*key) == (2, 3)
    assert await threads_of(stores.journal, tenant, "u1") == []


@pytest.mark.parametrize("spans", [None, [(1, 9)]])
async def test_a_message_that_cannot_be_read_is_left_out_and_pages_go_on_behind_it(
    stores: Stores, tenant: str, caplog: pytest.LogCaptureFixture, spans: Any
) -> None:
    rows = [newer_message(n) if n in (2, 4, 5) else message(n) for n in range(1, 8)]
    await stores.journal.commit(tenant, "th", commit("i1", 0, messages=rows, thread=head()))
    assert [m.seq for m in await stores.journal.messages(tenant, "th", limit=3, spans=spans)] == [3, 6, 7]
    assert any(f"the message 5 of the thread th of {tenant}" in line for line in told(caplog))
    assert [m.seq for m in await stores.journal.messages(tenant, "th", limit=2, before=6, spans=spans)] == [1, 3]
    assert [m.seq for m in await stores.journal.messages(tenant, "th", limit=9, spans=spans)] == [1, 3, 6, 7]
    hydrated = await stores.journal.hydrate(tenant, "th", window=3)
    assert [m.seq for m in hydrated.messages][-2:] == [6, 7]


async def test_a_run_that_cannot_be_read_is_left_out_of_the_runs_and_told_when_it_is_asked_for(
    stores: Stores, tenant: str, caplog: pytest.LogCaptureFixture
) -> None:
    newer = NewerRun(**{**run("b", 4).model_dump(), "outcome": SECRET})
    await stores.journal.commit(tenant, "th", commit("i1", 0, runs=[run("a", 2), newer, run("c", 6)]))
    assert [one.run_id for one in await stores.journal.runs(tenant, "th")] == ["a", "c"]
    (line,) = told(caplog)
    assert f"the run b of the thread th of {tenant}" in line
    assert [one.run_id for one in await stores.journal.runs(tenant, "th", limit=2)] == ["a", "c"]
    with pytest.raises(UnreadableRow, match="the run b"):
        await stores.journal.runs(tenant, "th", run_id="b")


async def test_what_was_promised_and_cannot_be_read_is_left_out(
    stores: Stores, tenant: str, caplog: pytest.LogCaptureFixture
) -> None:
    await stores.journal.accept(tenant, "th", accepted("a"))
    await stores.journal.accept(tenant, "th", NewerAccepted(**{**accepted("b").model_dump(), "at": SECRET}))
    assert [one.run_id for one in await stores.journal.promises(tenant, "th", ["a", "b"])] == ["a"]
    assert "the accepted run b" in told(caplog)[0]
    with pytest.raises(UnreadableRow, match="the accepted run b"):
        await stores.journal.accepted(tenant, "th", run_id="b")

    opened = OpenInput(input_id="i1", run_id="r1", user_id="u1", at=NOON)
    await stores.journal.announce(tenant, "th", opened)
    await stores.journal.announce(tenant, "th", NewerInput(**{**opened.model_dump(), "input_id": "i2", "at": SECRET}))
    assert await stores.journal.open_inputs(tenant, "th") == [opened]
    assert "the open input i2" in told(caplog)[0]


async def test_an_event_is_handed_out_as_it_is_and_pages_have_their_size(stores: Stores, tenant: str) -> None:
    await stores.journal.commit(tenant, "th", commit("i1", 0, events=[event(1), event(2, "{not json"), event(3)]))
    assert [e.seq for e in await stores.journal.events(tenant, "th", limit=2)] == [1, 2]
    assert [e.seq for e in await stores.journal.events(tenant, "th", since=2)] == [3]


async def test_an_item_that_is_no_object_is_left_out_can_be_replaced_and_half_an_emoji_costs_itself(
    stores: Stores, tenant: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken: Any = [SECRET]
    await stores.items.put(tenant, "u1", ["a"], "k1", {"n": 1})
    await stores.items.put(tenant, "u1", ["a"], "k2", broken)
    await stores.items.put(tenant, "u1", ["b"], "k3", {"half": "x\ud83d"})
    found = [item async for item in stores.items.below(tenant, "u1", [])]
    assert [(item.key, item.value) for item in found] == [("k1", {"n": 1}), ("k3", {"half": "x\ufffd"})]
    assert f"the item 'k2' in 'a' of the user u1 of {tenant}" in told(caplog)[0]
    with pytest.raises(UnreadableRow, match="the item 'k2'"):
        await stores.items.get(tenant, "u1", ["a"], "k2")
    await stores.items.put(tenant, "u1", ["a"], "k2", {"n": 2})
    assert (await stores.items.get(tenant, "u1", ["a"], "k2") or found[0]).value == {"n": 2}


async def test_an_audit_event_that_cannot_be_read_is_left_out_of_the_trail(
    stores: Stores, tenant: str, caplog: pytest.LogCaptureFixture
) -> None:
    fine = AuditEvent(at=NOON, action="a.b", actor="system")
    newer = NewerEvent(at=at(1), action="a.b", actor="system", outcome=SECRET)
    rows = [AuditRow(f"e{n}", n, newer if n == 2 else fine) for n in range(1, 4)]
    await stores.audit.append(tenant, rows)
    assert [row.position for row in await stores.audit.tail(tenant)] == [1, 3]
    assert f"the audit event e2 at 2 of {tenant}" in told(caplog)[0]
    assert [row.position async for row in stores.audit.export(tenant)] == [1, 3]


async def test_a_tenant_or_a_user_that_cannot_be_read_is_left_out_and_told_in_words(
    stores: Stores, tenant: str, other_tenant: str, caplog: pytest.LogCaptureFixture
) -> None:
    await stores.directory.put_tenant(Tenant(tenant_id=tenant, created_at=NOON), expected_version=0)
    newer = NewerTenant(tenant_id=other_tenant, created_at=NOON, paused={"until": SECRET})
    await stores.directory.put_tenant(newer, expected_version=0)
    try:
        found = [one.tenant_id for one in await stores.directory.tenants()]
        assert tenant in found
        assert other_tenant not in found
        assert any(f"the tenant {other_tenant}" in line for line in told(caplog))
        with pytest.raises(UnreadableRow, match=f"the tenant {other_tenant}"):
            await stores.directory.tenant(other_tenant)
    finally:  # all tests share the table
        await stores.directory.put_tenant(
            Tenant(tenant_id=other_tenant, created_at=NOON, version=2), expected_version=1
        )

    for user_id in ("ana", "bea"):
        await stores.directory.put_user(User(tenant_id=tenant, user_id=user_id, created_at=NOON))
    await stores.directory.put_user(
        NewerUser(tenant_id=tenant, user_id="bob", created_at=NOON, approvals_allow={"all": SECRET})
    )
    assert [user.user_id for user in await stores.directory.users(tenant)] == ["ana", "bea"]
    assert f"the user bob of {tenant}" in told(caplog)[0]
    with pytest.raises(UnreadableRow, match="the user bob"):
        await stores.directory.user(tenant, "bob")


async def test_a_tool_call_that_cannot_be_read_is_told_in_words(stores: Stores, tenant: str) -> None:
    await stores.ledger.claim(tenant, NewerEntry(**{**entry("c1").model_dump(), "created_at": SECRET}))
    with pytest.raises(UnreadableRow, match=f"the tool call c1 of {tenant}") as refused:
        await stores.ledger.get(tenant, "c1")
    assert SECRET not in str(refused.value)
    await stores.ledger.claim(tenant, entry("c2"))
    assert await stores.ledger.get(tenant, "c2") == entry("c2")
