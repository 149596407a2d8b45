"""No byte of one tenant reaches another: by every method, with every id of the other tenant."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from listed_threads import threads_of
from state_samples import (
    NOON,
    accepted,
    at,
    audit_row,
    checkpoint,
    commit,
    entry,
    event,
    head,
    message,
    result,
    run,
    value,
)
from stored_cells import marked

from schemas import OpenInput, Tenant, User
from state import AssistantRow, Committed, Hydrated, Stores

THREADS = st.sampled_from(["th1", "th2"])
USERS = st.sampled_from(["u1", "u2"])
IDS = st.sampled_from(["x1", "x2", "x3"])
SIDES = st.integers(0, 1)


async def read_everything(stores: Stores, tenant: str, thread: str, user: str, ident: str) -> list[Any]:
    """What every reading method gives for these ids."""
    return [
        await stores.journal.hydrate(tenant, thread, window=100, input_id=ident),
        await stores.journal.outputs_of(tenant, thread, ident),
        await stores.journal.messages(tenant, thread),
        await stores.journal.events(tenant, thread),
        await threads_of(stores.journal, tenant, user),
        await stores.journal.places(tenant, user),
        await stores.journal.lines(tenant, user, [thread]),
        await stores.ledger.get(tenant, ident),
        await stores.directory.tenant(tenant),
        await stores.directory.user(tenant, user),
        await stores.directory.users(tenant),
        await stores.audit.tail(tenant),
        await stores.audit.of_user(tenant, user),
        [row async for row in stores.audit.export(tenant)],
        await stores.journal.runs(tenant, thread),
        await stores.journal.runs(tenant, thread, run_id=ident),
        await stores.journal.accepted(tenant, thread, run_id=ident),
        await stores.journal.accepted_ids(tenant, thread),
        await stores.journal.promises(tenant, thread, [ident]),
        await stores.journal.ended(tenant, thread, [ident]),
        await stores.journal.open_inputs(tenant, thread),
        await stores.credentials.get(tenant, "key", ident),
        await stores.credentials.list(tenant, "key"),
        await stores.items.get(tenant, user, ["a"], ident),
        [item async for item in stores.items.below(tenant, user, [])],
        await stores.journal.checkpoints(tenant, thread),
        await stores.journal.values(tenant, thread, [(1, 1000)]),
        await stores.assistants.get(tenant, ident),
        await stores.assistants.versions(tenant, ident),
        await stores.assistants.list(tenant),
    ]


NOTHING: list[Any] = [
    Hydrated(0, None, ()),
    None,
    [],
    [],
    [],
    [],
    [],
    None,
    None,
    None,
    [],
    [],
    [],
    [],
    [],
    [],
    None,
    [],
    [],
    set(),
    [],
    None,
    [],
    None,
    [],
    [],
    [],
    None,
    [],
    [],
]


async def fill(stores: Stores, tenant: str) -> None:
    first = commit("x1", 0, messages=[message(1)], events=[event(1)], thread=head(title=tenant), runs=[run("x1")])
    rows = [checkpoint(2, tenant), value(1, tenant)]
    await stores.assistants.put(tenant, AssistantRow("x1", 1, tenant.encode()), expected_version=0)
    await stores.journal.accept(tenant, "th1", accepted("x1"))
    opened = OpenInput(input_id="x9", run_id="x1", user_id="u1", at=NOON, begun=True)
    await stores.journal.announce(tenant, "th1", opened)
    await stores.credentials.put(tenant, "key", "x1", tenant.encode(), expires=datetime.now(UTC) + timedelta(hours=1))
    await stores.items.put(tenant, "u1", ["a"], "x1", {"of": tenant})
    await stores.journal.commit(tenant, "th1", replace(first, rows=tuple(rows)))
    await stores.ledger.claim(tenant, entry("x1", state="sent"))
    await stores.directory.put_tenant(Tenant(tenant_id=tenant, name=tenant, created_at=NOON), expected_version=0)
    await stores.directory.put_user(User(tenant_id=tenant, user_id="u1", name=tenant, created_at=NOON))
    row = audit_row(1)
    await stores.audit.append(tenant, [replace(row, event=row.event.model_copy(update={"user_id": "u1"}))])


async def test_tenant_reads_nothing_with_the_ids_of_another(stores: Stores, tenant: str, other_tenant: str) -> None:
    await fill(stores, tenant)
    assert await read_everything(stores, other_tenant, "th1", "u1", "x1") == NOTHING


async def test_tenant_changes_nothing_with_the_ids_of_another(stores: Stores, tenant: str, other_tenant: str) -> None:
    await fill(stores, tenant)
    before = await read_everything(stores, tenant, "th1", "u1", "x1")

    ledger = stores.ledger
    moves: list[Awaitable[bool]] = [
        ledger.send(other_tenant, "x1", owner="worker-1", at=at(1)),
        ledger.withdraw(other_tenant, "x1", owner="worker-1", at=at(1)),
        ledger.finish(other_tenant, "x1", owner="worker-1", result=result("x1"), at=at(1)),
        ledger.take_over(other_tenant, "x1", previous_owner="worker-1", owner="w", at=at(1)),
    ]
    assert [await move for move in moves] == [False] * 4
    assert await ledger.claim(other_tenant, entry("x1", name="Asana_CreateTask")) is None
    mine = commit(
        "x1",
        0,
        messages=[message(1, "mine")],
        events=[event(1, "1")],
        rows=[checkpoint(2, "mine"), value(1, "mine")],
        remove_messages_from=1,
    )
    assert await stores.journal.commit(other_tenant, "th1", mine) == Committed(1)
    assert await stores.journal.commit(other_tenant, "th1", commit("x2", 1, erase=True)) == Committed(2)
    assert await stores.credentials.take(other_tenant, "key", "x1") is None
    assert not await stores.assistants.choose(other_tenant, "x1", 1)
    assert not await stores.assistants.delete(other_tenant, "x1")
    assert not await stores.assistants.put(other_tenant, AssistantRow("x1", 2, b"mine"), expected_version=1)
    assert await stores.assistants.put(other_tenant, AssistantRow("x1", 1, b"mine"), expected_version=0)
    assert await stores.assistants.delete(other_tenant, "x1")
    await stores.directory.put_tenant(Tenant(tenant_id=other_tenant, created_at=at(9)), expected_version=0)
    await stores.directory.put_user(User(tenant_id=other_tenant, user_id="u1", name="mine", created_at=at(9)))
    await stores.audit.append(other_tenant, [audit_row(1, mine=True)])

    assert await read_everything(stores, tenant, "th1", "u1", "x1") == before


@pytest.mark.parametrize("trick", ["{0}' OR '1'='1", "{0}%", "{0}\x00", "*", "{0}:th1", "{0}/../{0}"])
async def test_tenant_id_that_plays_tricks_reads_nothing(stores: Stores, tenant: str, trick: str) -> None:
    await fill(stores, tenant)
    assert await read_everything(stores, trick.format(tenant), "th1", "u1", "x1") == NOTHING


class Canaries(RuleBasedStateMachine):
    """Two tenants with the same ids do everything; whatever one writes carries its canary."""

    runner: asyncio.Runner
    stores: Stores

    @initialize()
    def tenants_move_in(self) -> None:
        tag = secrets.token_hex(5)
        self.tenants = [f"a-{tag}", f"b-{tag}"]
        self.canaries = [f"canary-{secrets.token_hex(8)}" for _ in self.tenants]
        self.versions: dict[tuple[int, str], int] = {}
        self.seq = 0

    def run(self, work: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await work

        return self.runner.run(wait())

    @rule(side=SIDES, thread=THREADS, user=USERS, ident=IDS, rollback=st.booleans())
    def commit(self, side: int, thread: str, user: str, ident: str, rollback: bool) -> None:
        self.seq += 1
        version, canary = self.versions.get((side, thread), 0), self.canaries[side]
        turn = commit(
            ident,
            version,
            outputs=canary.encode(),
            messages=[message(self.seq, canary)],
            events=[event(self.seq, canary)],
            rows=[checkpoint(self.seq, canary), value(self.seq, canary)],
            thread=head(user_id=user, title=canary),
            remove_messages_from=1 if rollback else None,
        )
        outcome = self.run(self.stores.journal.commit(self.tenants[side], thread, turn))
        if isinstance(outcome, Committed):
            self.versions[side, thread] = outcome.version
        self.check(side, outcome)

    @rule(side=SIDES, ident=IDS)
    def claim(self, side: int, ident: str) -> None:
        mine = entry(ident, name=self.canaries[side], owner="w", state="sent")
        self.check(side, self.run(self.stores.ledger.claim(self.tenants[side], mine)))

    @rule(side=SIDES, ident=IDS)
    def finish(self, side: int, ident: str) -> None:
        outcome = result(ident, content=self.canaries[side])
        ledger, tenant = self.stores.ledger, self.tenants[side]
        self.run(ledger.finish(tenant, ident, owner="w", result=outcome, at=at(1)))

    @rule(side=SIDES, ident=IDS)
    def put_assistant(self, side: int, ident: str) -> None:
        assistants, tenant = self.stores.assistants, self.tenants[side]
        newest = len(self.run(assistants.versions(tenant, ident)))
        mine = AssistantRow(ident, newest + 1, self.canaries[side].encode())
        assert self.run(assistants.put(tenant, mine, expected_version=newest))

    @rule(side=SIDES, ident=IDS)
    def delete_assistant(self, side: int, ident: str) -> None:
        self.run(self.stores.assistants.delete(self.tenants[side], ident))

    @rule(side=SIDES, user=USERS)
    def put_user(self, side: int, user: str) -> None:
        person = User(tenant_id=self.tenants[side], user_id=user, name=self.canaries[side], created_at=NOON)
        self.run(self.stores.directory.put_user(person))

    @rule(side=SIDES, position=st.integers(0, 5))
    def append(self, side: int, position: int) -> None:
        row = audit_row(position, canary=self.canaries[side])
        self.run(self.stores.audit.append(self.tenants[side], [row]))

    @rule(side=SIDES, thread=THREADS, user=USERS, ident=IDS)
    def read(self, side: int, thread: str, user: str, ident: str) -> None:
        self.check(side, self.run(read_everything(self.stores, self.tenants[side], thread, user, ident)))

    def check(self, side: int, seen: Any) -> None:
        assert self.canaries[1 - side] not in repr(seen)


def test_no_canary_of_one_tenant_is_ever_seen_by_the_other(state_url: str) -> None:
    with asyncio.Runner() as runner:
        stores = marked(state_url)
        runner.run(stores.open())
        machine = type("BoundCanaries", (Canaries,), {"runner": runner, "stores": stores})
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=15,
                    stateful_step_count=20,
                    deadline=None,
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            runner.run(stores.close())
