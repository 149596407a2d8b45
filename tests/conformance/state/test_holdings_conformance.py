"""A copy of all that is kept of somebody, and its end, on both twins."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from every_row import fill, fill_user
from listed_threads import threads_of
from state_samples import NOON, audit_row, commit, head, message, until_none
from stored_cells import MARK, Marked, cells_of

from core.personal_data import Holdings
from core.refusals import NotNow
from schemas import OpenInput, Unavailable
from state import HOLDINGS, Codec, Piece, Stores, open_stores

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


class Unreadable(Marked):
    """What it stores of bodies that begin so is what no codec can decode."""

    def __init__(self, beginning: bytes = b"") -> None:
        super().__init__()
        self._beginning = beginning

    def encode(self, tenant_id: str, body: bytes) -> bytes:
        return MARK if body.startswith(self._beginning) else super().encode(tenant_id, body)


@contextlib.asynccontextmanager
async def opened(url: str, codec: Codec) -> AsyncIterator[Stores]:
    """The same stores, as another process has them."""
    stores = open_stores(url, codec=codec)
    await stores.open()
    yield stores
    await stores.close()


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
    # What a repeated record is known by stays for as long as there may be one. The trail stays the tenant's, and names nobody.
    assert {store for store, _ in await copy_of(holdings, tenant, "u1")} == {"ledger"}
    assert len([row async for row in stores.audit.export(tenant)]) == 4
    assert await stores.audit.of_user(tenant, "u1") == []
    assert await threads_of(stores.journal, tenant, "u1") == []
    assert await stores.journal.outputs_of(tenant, "th1", "i1") is not None
    assert [name for name, _ in await stores.credentials.list(tenant, "key")] == ["th2-k1"]

    await holdings.erase(tenant, "u1", now=AFTER_REPEATS)
    assert await copy_of(holdings, tenant, "u1") == []
    assert await stores.journal.numbers(tenant, "th1") == (0, 0)
    assert await stores.journal.outputs_of(tenant, "th1", "i1") is None
    assert await copy_of(holdings, tenant, "u2") == before


async def test_a_thread_that_cannot_be_deleted_is_named_and_everything_else_is_erased(
    stores: Stores, tenant: str
) -> None:
    delete = deletes(stores)

    async def busy(tenant_id: str, user: str, thread: str) -> None:
        if thread == "th1":
            raise NotNow("not_done_yet", "no worker has come to it yet")
        await delete(tenant_id, user, thread)

    await fill(stores, tenant, "mine")
    for thread in ("th1", "th2"):
        await fill_user(stores, tenant, "u1", "mine", thread=thread)
    with pytest.raises(NotNow, match="the thread th1 of u1: no worker has come to it yet") as refused:
        await Holdings(stores, busy).erase(tenant, now=NOW)
    assert len(refused.value.more["left"]) == 1
    assert [line.thread_id for line in await threads_of(stores.journal, tenant, "u1")] == ["th1"]
    assert [item async for item in stores.items.below(tenant, "u1", [])] == []
    assert await stores.directory.tenant(tenant) is not None  # without it no turn could delete the thread

    await Holdings(stores, delete).erase(tenant, now=AFTER_REPEATS)
    assert await shown(stores, tenant) == set()


async def test_a_store_that_fails_is_named_and_the_others_are_erased(stores: Stores, tenant: str) -> None:
    await fill(stores, tenant, "mine")

    class Broken:
        async def users(self, tenant_id: str) -> list[str]:
            raise Unavailable("it does not answer")

    class Others:
        items = Broken()

        def __getattr__(self, name: str) -> Any:
            return getattr(stores, name)

    others: Any = Others()
    with pytest.raises(NotNow, match="the store items: it does not answer"):
        await Holdings(others, deletes(stores)).erase(tenant, now=AFTER_REPEATS)
    assert await shown(stores, tenant) == {"items"}


async def test_threads_whose_rows_cannot_be_read_are_erased_and_the_unreadable_line_hides_none_from_a_copy(
    stores: Stores, tenant: str, state_url: str
) -> None:
    holdings = Holdings(stores, deletes(stores))
    await fill_user(stores, tenant, "u1", "mine", thread="th1")
    async with opened(state_url, Unreadable()) as other:
        await other.journal.commit(tenant, "th2", commit("i1", 0, messages=[message(1)]))
    assert {thread.thread_id for thread in await stores.journal.owned(tenant)} == {"th1", "th2"}
    async with opened(state_url, Unreadable(b'{"title"')) as other:
        await other.journal.commit(tenant, "th3", commit("i1", 0, messages=[message(1)]))
    assert [line.thread_id for line in await threads_of(stores.journal, tenant, "u1")] == ["th1"]
    assert {"journal/threads/th1", "journal/threads/th3"} <= {
        f"{s}/{p.name}" for s, p in await copy_of(holdings, tenant)
    }
    assert await stores.journal.lists(tenant, "u1", "th2")

    await holdings.erase(tenant, "u1", now=NOW)
    assert [thread.deleted_at is None for thread in await stores.journal.owned(tenant)] == [False] * 3
    assert not await stores.journal.lists(tenant, "u1", "th2")
    await holdings.erase(tenant, now=AFTER_REPEATS)
    assert await shown(stores, tenant) == set()


async def test_a_line_that_a_late_write_leaves_of_a_deleted_thread_is_erased(stores: Stores, tenant: str) -> None:
    holdings, thread = Holdings(stores, deletes(stores)), f"gone-{tenant}"
    await fill_user(stores, tenant, "u1", "mine", thread=thread)
    await fill_user(stores, tenant, "u2", "theirs", thread="th2")
    await deletes(stores)(tenant, "u1", thread)
    late = OpenInput(input_id="i3", run_id="r3", user_id="u1", at=NOON, begun=True)
    await stores.journal.announce(tenant, thread, late)

    await holdings.erase(tenant, "u1", now=NOW)
    assert "threads_by_user" not in await shown(stores, thread)
    assert [line.thread_id for line in await threads_of(stores.journal, tenant, "u2")] == ["th2"]


async def test_credentials_that_have_expired_are_erased_with_the_others(stores: Stores, tenant: str) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    for kind in ("key", "link"):
        await stores.credentials.put(tenant, kind, "old", b'{"user_id": "u1"}', expires=soon)
    await until_none(lambda: stores.credentials.get(tenant, "link", "old"))
    await stores.credentials.erase(tenant, expired=True)
    assert "credentials" not in await shown(stores, tenant)


async def test_a_credential_that_cannot_be_read_is_erased_with_its_tenant(
    stores: Stores, tenant: str, state_url: str
) -> None:
    async with opened(state_url, Unreadable()) as other:
        await other.credentials.put(tenant, "key", "k", b"{}", expires=datetime.now(UTC) + timedelta(hours=1))
    await Holdings(stores, deletes(stores)).erase(tenant, now=NOW)
    assert "credentials" not in await shown(stores, tenant)


async def test_audit_events_that_another_process_stores_after_an_erasure_are_erased_when_it_is_repeated(
    stores: Stores, tenant: str, state_url: str
) -> None:
    holdings = Holdings(stores, deletes(stores))
    async with opened(state_url, Marked()) as worker:
        await worker.audit.append(tenant, [audit_row(1)])
        await holdings.erase(tenant, now=NOW)
        await worker.audit.append(tenant, [audit_row(2)])
        await worker.audit.add_missing(tenant, audit_row(3))
    assert "audit" in await shown(stores, tenant)
    await holdings.erase(tenant, now=NOW)
    assert not {"audit", "audit_months", "audit_by_user"} & await shown(stores, tenant)


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
