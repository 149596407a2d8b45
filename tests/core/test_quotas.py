"""What a user or a tenant may keep is bounded, and who has deleted something can go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.audit_writer import AuditWriter
from core.principal import Principal
from core.quotas import AGAIN_SECONDS, KNOWN_SECONDS, QuotaLimits, Quotas
from core.refusals import Forbidden
from core.user_items import UserItems
from schemas import ThreadHead
from schemas.common.clock import utc_now
from state import AssistantRow, Commit, Stores, open_stores

ANA, BEN = Principal("acme", "ana"), Principal("acme", "ben")
LIMITS = QuotaLimits(threads=2, items=3, item_bytes=1_000, assistants=2, assistant_versions=3, assistant_bytes=100)


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = open_stores(f"sqlite://{tmp_path}")
    await stores.open()
    await stores.migrate()
    yield stores
    await stores.close()


class Watch:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def thread(stores: Stores, name: str, user: str = "ana", *, version: int = 0, deleted: bool = False) -> None:
    head = ThreadHead(user_id=user, created_at=utc_now(), updated_at=utc_now(), deleted=deleted)
    commit = Commit(input_id=f"i{version}", expected_version=version, head=head, outputs=b"", erase=deleted)
    await stores.journal.commit("acme", name, commit)


async def test_threads_of_a_user_are_bounded_until_one_is_deleted(stores: Stores) -> None:
    watch = Watch()
    quotas = Quotas(stores, LIMITS, watch)
    for name in ("a", "b"):
        await quotas.thread(ANA)
        await thread(stores, name)
    with pytest.raises(Forbidden, match=r"at most 2 threads\. Delete threads") as refused:
        await quotas.thread(ANA)
    assert (refused.value.code, refused.value.more) == ("quota_exceeded", {"quota": "threads"})
    await quotas.thread(BEN)
    await thread(stores, "a", version=1, deleted=True)
    watch.now += AGAIN_SECONDS + 0.1
    await quotas.thread(ANA)


async def test_items_of_a_user_are_bounded_in_number_and_bytes_and_can_be_replaced(stores: Stores) -> None:
    watch = Watch()
    items = UserItems(stores.items, Quotas(stores, LIMITS, watch), AuditWriter(stores.timers))

    async def put(key: str, size: int, by: Principal = ANA) -> None:
        watch.now += AGAIN_SECONDS + 0.1
        await items.put(by, ["a"], key, {"x": "x" * size}, lifetime=None)

    for key in "abc":
        await put(key, 100)
    with pytest.raises(Forbidden, match="at most 3 items"):
        await put("d", 1)
    await put("c", 700)
    with pytest.raises(Forbidden, match="1,000 bytes together; you have 3 with"):
        await put("c", 800)
    await put("d", 900, by=BEN)
    await items.delete(ANA, ["a"], "c")
    await put("d", 600)


async def test_item_that_is_written_again_and_again_fills_no_quota(stores: Stores) -> None:
    items = UserItems(stores.items, Quotas(stores, LIMITS, Watch()), AuditWriter(stores.timers))
    for n in range(10):
        await items.put(ANA, ["a"], "the same", {"x": "x" * 400, "n": n}, lifetime=None)
    with pytest.raises(Forbidden, match="1,000 bytes together"):
        await items.put(ANA, ["a"], "another", {"x": "x" * 700}, lifetime=None)
    await items.delete(ANA, ["a"], "the same")
    await items.put(ANA, ["a"], "another", {"x": "x" * 700}, lifetime=None)


async def test_assistants_and_their_versions_are_bounded(stores: Stores) -> None:
    quotas = Quotas(stores, LIMITS)
    for name in ("a", "b"):
        await quotas.assistant("acme")
        await stores.assistants.put("acme", AssistantRow(name, 1, b"{}"), expected_version=0)
    with pytest.raises(Forbidden, match="at most 2 assistants in a tenant"):
        await quotas.assistant("acme")
    await quotas.assistant("other")
    quotas.version(3, 100)
    with pytest.raises(Forbidden, match="at most 3 versions"):
        quotas.version(4, 100)
    with pytest.raises(Forbidden, match="at most 100 bytes in an assistant"):
        quotas.version(1, 101)


async def test_store_is_not_asked_at_each_write(stores: Stores) -> None:
    watch, asked = Watch(), 0
    count = stores.journal.count

    async def counted(*who: str) -> object:
        nonlocal asked
        asked += 1
        return await count(*who)

    stores.journal.count = counted  # type: ignore[method-assign, assignment]
    quotas = Quotas(stores, QuotaLimits(threads=100), watch)
    for _ in range(50):
        await quotas.thread(ANA)
    assert asked == 1
    watch.now += KNOWN_SECONDS + 1
    await quotas.thread(ANA)
    assert asked == 2
