"""A copy of all that is kept of somebody, and its end, on both twins."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from every_row import fill, fill_user
from state_samples import commit, head
from stored_cells import cells_of

from core.personal_data import Holdings
from state import HOLDINGS, Piece, Stores

NOW = datetime(2026, 2, 1, tzinfo=UTC)
AFTER_REPEATS = NOW + timedelta(days=9)
OF_A_USER = {"journal", "ledger", "directory", "audit", "items", "timers"}
OF_NOBODY = {"attempts", "credentials", "positions"}
"""Not in an export, as their holdings say."""


def deletes(stores: Stores) -> Callable[[str, str, str], Awaitable[None]]:
    """Deletes a thread as its turn does."""

    async def delete(tenant: str, user: str, thread: str) -> None:
        version, _ = await stores.journal.numbers(tenant, thread)
        gone = head(user_id=user).model_copy(update={"deleted": True})
        await stores.journal.commit(tenant, thread, commit(f"delete {thread}", version, thread=gone, erase=True))

    return delete


async def copy_of(holdings: Holdings, tenant: str, user: str | None = None) -> list[tuple[str, Piece]]:
    return [piece async for piece in holdings.export(tenant, user)]


async def shown(stores: Stores, words: str) -> set[str]:
    """Tables in which these words stand."""
    cells = await cells_of(stores)
    return {table for table, values in cells.items() if any(cell == words for cell in values)}


async def test_a_copy_has_all_of_a_user_and_nothing_of_another(stores: Stores, tenant: str) -> None:
    await fill_user(stores, tenant, "u1", "mine", thread="th1")
    await fill_user(stores, tenant, "u2", "theirs", thread="th2")
    found = await copy_of(Holdings(stores, deletes(stores)), tenant, "u1")
    assert {store for store, _ in found} == OF_A_USER
    assert all(b"theirs" not in piece.body and "th2" not in piece.name for _, piece in found)
    assert all(b"mine" in piece.body for _, piece in found)
    assert len({(store, piece.name) for store, piece in found}) == len(found)


async def test_a_copy_of_a_tenant_has_all_of_its_users_and_nothing_of_another_tenant(
    stores: Stores, tenant: str, other_tenant: str
) -> None:
    await fill(stores, tenant, "mine")
    await fill_user(stores, tenant, "u2", "mine", thread="th2")
    await fill(stores, other_tenant, "theirs")
    found = await copy_of(Holdings(stores, deletes(stores)), tenant)
    assert {store for store, _ in found} == set(HOLDINGS) - OF_NOBODY
    assert all(b"theirs" not in piece.body for _, piece in found)
    names = {piece.name for _, piece in found}
    assert {"tenant", "users/u1", "users/u2", "threads/th", "threads/th2", "a1/1"} <= names


async def test_what_is_erased_of_a_user_is_gone_and_nothing_of_another_user(stores: Stores, tenant: str) -> None:
    holdings = Holdings(stores, deletes(stores))
    await fill_user(stores, tenant, "u1", "mine", thread="th1")
    await fill_user(stores, tenant, "u2", "theirs", thread="th2")
    before = await copy_of(holdings, tenant, "u2")

    await holdings.erase(tenant, "u1", now=NOW)
    # What a repeated record is known by stays for as long as there may be one, and the trail is the tenant's.
    assert {store for store, _ in await copy_of(holdings, tenant, "u1")} == {"ledger", "audit"}
    assert await stores.journal.threads(tenant, "u1") == []
    assert await stores.journal.outputs_of(tenant, "th1", "i1") is not None
    assert [name for name, _ in await stores.credentials.list(tenant, "key")] == ["th2-k1"]

    await holdings.erase(tenant, "u1", now=AFTER_REPEATS)
    assert {store for store, _ in await copy_of(holdings, tenant, "u1")} == {"audit"}
    assert await stores.journal.numbers(tenant, "th1") == (0, 0)
    assert await stores.journal.outputs_of(tenant, "th1", "i1") is None
    assert await copy_of(holdings, tenant, "u2") == before


async def test_nothing_of_a_tenant_is_in_any_table_once_it_was_erased(stores: Stores, other_tenant: str) -> None:
    holdings, tenant = Holdings(stores, deletes(stores)), f"t-{secrets.token_hex(6)}"
    await fill(stores, tenant, "mine")
    await fill_user(stores, tenant, "u2", "mine", thread="th2")
    await fill(stores, other_tenant, "theirs")
    before = await copy_of(holdings, other_tenant)
    assert await shown(stores, tenant)

    await holdings.erase(tenant, now=AFTER_REPEATS)
    assert await shown(stores, tenant) == set()
    assert await copy_of(holdings, tenant) == []
    assert await copy_of(holdings, other_tenant) == before
