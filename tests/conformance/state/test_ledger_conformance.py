from __future__ import annotations

import asyncio

import pytest
from state_samples import at, entry, result

from schemas import CallState, LedgerEntry
from state import Stores

STATES: tuple[CallState, ...] = ("intent", "sent", "done", "unknown")
MOVES = ("send", "withdraw", "finish", "finish_unknown", "take_over")
LEGAL = {
    ("intent", "send"): "sent",
    ("intent", "finish"): "done",
    ("intent", "finish_unknown"): "unknown",
    ("sent", "withdraw"): "intent",
    ("sent", "finish"): "done",
    ("sent", "finish_unknown"): "unknown",
    ("sent", "take_over"): "sent",
}


async def put(stores: Stores, tenant: str, call_id: str, state: CallState) -> LedgerEntry:
    settled = result(call_id) if state in ("done", "unknown") else None
    stored = entry(call_id, state=state, owner="mine", attempts=1, result=settled)
    assert await stores.ledger.claim(tenant, stored) is None
    return stored


async def move(stores: Stores, tenant: str, call_id: str, name: str, owner: str) -> bool:
    ledger, later = stores.ledger, at(60)
    if name == "send":
        return await ledger.send(tenant, call_id, owner=owner, at=later)
    if name == "withdraw":
        return await ledger.withdraw(tenant, call_id, owner=owner, at=later)
    if name == "take_over":
        return await ledger.take_over(tenant, call_id, previous_owner=owner, owner="next", at=later)
    outcome = result(call_id, status="unknown" if name == "finish_unknown" else "error")
    return await ledger.finish(tenant, call_id, owner=owner, result=outcome, at=later)


async def test_claim_stores_the_entry_once(stores: Stores, tenant: str) -> None:
    mine = entry("c1", state="sent", owner="a", attempts=1)
    assert await stores.ledger.get(tenant, "c1") is None
    assert await stores.ledger.claim(tenant, mine) is None
    assert await stores.ledger.claim(tenant, entry("c1", owner="b", name="Asana_CreateTask")) == mine
    assert await stores.ledger.claim(tenant, mine) == mine
    assert await stores.ledger.get(tenant, "c1") == mine


async def test_claim_may_store_a_call_that_is_settled_already(stores: Stores, tenant: str) -> None:
    refused = entry("c1", state="done", owner="", result=result("c1", status="refused", content="'no' 👎 \x00"))
    assert await stores.ledger.claim(tenant, refused) is None
    assert await stores.ledger.get(tenant, "c1") == refused
    assert await stores.ledger.claim(tenant, entry("c1")) == refused


async def test_of_concurrent_claims_one_wins_and_the_others_see_it(stores: Stores, tenant: str) -> None:
    rivals = [entry("c1", owner=f"worker-{n}") for n in range(20)]
    outcomes = await asyncio.gather(*(stores.ledger.claim(tenant, rival) for rival in rivals))
    (winner,) = [n for n, outcome in enumerate(outcomes) if outcome is None]
    assert all(outcome == rivals[winner] for n, outcome in enumerate(outcomes) if n != winner)


async def test_of_concurrent_sends_and_of_concurrent_take_overs_one_wins(stores: Stores, tenant: str) -> None:
    await put(stores, tenant, "c1", "intent")
    owners = [f"worker-{n}" for n in range(10)]
    sends = await asyncio.gather(*(stores.ledger.send(tenant, "c1", owner=o, at=at(1)) for o in owners))
    assert sends.count(True) == 1
    sender = owners[sends.index(True)]
    taken = await asyncio.gather(
        *(stores.ledger.take_over(tenant, "c1", previous_owner=sender, owner=f"next-{o}", at=at(2)) for o in owners)
    )
    assert taken.count(True) == 1
    stored = await stores.ledger.get(tenant, "c1")
    assert stored
    assert (stored.owner, stored.attempts, stored.state) == (f"next-{owners[taken.index(True)]}", 2, "sent")


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("state", STATES)
async def test_only_legal_moves_happen(stores: Stores, tenant: str, state: CallState, name: str) -> None:
    before = await put(stores, tenant, "c1", state)

    moved = await move(stores, tenant, "c1", name, "mine")

    after = await stores.ledger.get(tenant, "c1")
    assert moved == ((state, name) in LEGAL)
    if not moved:
        assert after == before
        return
    changed = {"state": LEGAL[state, name], "updated_at": at(60)}
    if name == "send":
        changed["attempts"] = 2
    if name == "take_over":
        changed["owner"] = "next"
    if name.startswith("finish"):
        changed["result"] = result("c1", status="unknown" if name == "finish_unknown" else "error")
    assert after == before.model_copy(update=changed)


@pytest.mark.parametrize("name", [name for name in MOVES if name != "send"])
@pytest.mark.parametrize("state", STATES)
async def test_nobody_but_the_owner_moves_a_call(stores: Stores, tenant: str, state: CallState, name: str) -> None:
    before = await put(stores, tenant, "c1", state)
    assert not await move(stores, tenant, "c1", name, "somebody else")
    assert await stores.ledger.get(tenant, "c1") == before


async def test_send_makes_the_sender_the_owner(stores: Stores, tenant: str) -> None:
    before = await put(stores, tenant, "c1", "intent")
    assert await stores.ledger.send(tenant, "c1", owner="somebody else", at=at(1))
    expected = {"state": "sent", "owner": "somebody else", "attempts": 2, "updated_at": at(1)}
    assert await stores.ledger.get(tenant, "c1") == before.model_copy(update=expected)


@pytest.mark.parametrize("name", MOVES)
async def test_call_that_nobody_claimed_does_not_come_into_being_by_a_move(
    stores: Stores, tenant: str, name: str
) -> None:
    assert not await move(stores, tenant, "c1", name, "")
    assert not await move(stores, tenant, "c1", name, "mine")
    assert await stores.ledger.get(tenant, "c1") is None


async def test_withdrawn_call_can_be_sent_again_and_counts_every_attempt(stores: Stores, tenant: str) -> None:
    await put(stores, tenant, "c1", "intent")
    for n in range(3):
        assert await stores.ledger.send(tenant, "c1", owner=f"try-{n}", at=at(n))
        assert await stores.ledger.withdraw(tenant, "c1", owner=f"try-{n}", at=at(n))
    stored = await stores.ledger.get(tenant, "c1")
    assert stored
    assert (stored.attempts, stored.state, stored.owner) == (4, "intent", "try-2")
