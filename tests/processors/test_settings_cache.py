from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from processors.settings_cache import TenantCache, UserCache
from schemas import Tenant, Unavailable, User
from schemas.common.recent import TtlCache
from state import Stores, open_stores

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Source:
    """A counted value to load. While `gate` is closed, loads wait."""

    def __init__(self, value: str | None = "a") -> None:
        self.value, self.loads = value, 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> str | None:
        self.loads += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        return self.value


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> TtlCache[str | None]:
    return TtlCache(ttl=5, clock=clock)


async def begun(source: Source, loads: int) -> None:
    async with asyncio.timeout(120):
        while source.loads < loads:
            await asyncio.sleep(0)


@pytest.mark.parametrize(("seconds", "loads"), [(0, 1), (4.99, 1), (5, 2), (100, 2)])
async def test_a_value_is_kept_for_its_time_and_no_longer(
    cache: TtlCache[str | None], clock: Clock, seconds: float, loads: int
) -> None:
    source = Source("old")
    assert await cache.get("k", source.load) == "old"
    source.value = "new"
    clock.now = seconds
    assert await cache.get("k", source.load) == ("old" if loads == 1 else "new")
    assert source.loads == loads


async def test_asking_often_does_not_keep_an_old_value_alive(cache: TtlCache[str | None], clock: Clock) -> None:
    source = Source("old")
    for clock.now in (0.0, 2.0, 4.0):
        await cache.get("k", source.load)
    source.value, clock.now = "new", 6.0
    assert await cache.get("k", source.load) == "new"


async def test_keys_do_not_share_values(cache: TtlCache[str | None]) -> None:
    one, two = Source("1"), Source("2")
    assert await cache.get(("acme", "u1"), one.load) == "1"
    assert await cache.get(("lumen", "u1"), two.load) == "2"
    assert await cache.get(("acme", "u1"), two.load) == "1"


async def test_many_askers_share_one_load(cache: TtlCache[str | None]) -> None:
    source = Source("a")
    source.gate.clear()
    askers = [asyncio.create_task(cache.get("k", source.load)) for _ in range(50)]
    await begun(source, 1)
    source.gate.set()
    assert await asyncio.gather(*askers) == ["a"] * 50
    assert source.loads == 1


async def test_that_there_is_nothing_is_kept_too(cache: TtlCache[str | None], clock: Clock) -> None:
    source = Source(None)
    assert await cache.get("k", source.load) is None
    source.value = "came later"
    assert await cache.get("k", source.load) is None
    clock.now = 5
    assert await cache.get("k", source.load) == "came later"


async def test_a_load_that_fails_reaches_everybody_who_waits_and_is_not_kept(cache: TtlCache[str | None]) -> None:
    source = Source("a")
    source.error = Unavailable("down")
    source.gate.clear()
    askers = [asyncio.create_task(cache.get("k", source.load)) for _ in range(3)]
    await begun(source, 1)
    source.gate.set()
    results = await asyncio.gather(*askers, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 3
    source.error = None
    assert await cache.get("k", source.load) == "a"
    assert source.loads == 2


async def test_a_cancelled_asker_does_not_end_the_load_of_the_others(cache: TtlCache[str | None]) -> None:
    source = Source("a")
    source.gate.clear()
    first = asyncio.create_task(cache.get("k", source.load))
    await begun(source, 1)
    second = asyncio.create_task(cache.get("k", source.load))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.gate.set()
    assert await second == "a"
    assert source.loads == 1


async def test_a_load_whose_askers_all_left_still_fills_the_cache(cache: TtlCache[str | None]) -> None:
    source = Source("a")
    source.gate.clear()
    asker = asyncio.create_task(cache.get("k", source.load))
    await begun(source, 1)
    asker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker
    source.gate.set()
    assert await cache.get("k", source.load) == "a"
    assert source.loads == 1


async def test_a_failing_load_whose_askers_all_left_harms_nobody(cache: TtlCache[str | None]) -> None:
    source = Source("a")
    source.error = Unavailable("down")
    source.gate.clear()
    asker = asyncio.create_task(cache.get("k", source.load))
    await begun(source, 1)
    asker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker
    source.gate.set()
    source.error = None
    assert await cache.get("k", source.load) == "a"


async def test_the_cache_holds_no_more_than_its_size(clock: Clock) -> None:
    cache: TtlCache[str | None] = TtlCache(ttl=5, size=2, clock=clock)
    source = Source("a")
    for key in "abc":
        await cache.get(key, source.load)
    assert source.loads == 3
    await cache.get("c", source.load)
    await cache.get("b", source.load)
    assert source.loads == 3
    await cache.get("a", source.load)
    assert source.loads == 4


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = open_stores(f"sqlite://{tmp_path}")
    await opened.open()
    await opened.migrate()
    yield opened
    await opened.close()


async def test_a_changed_tenant_is_seen_after_its_time(stores: Stores, clock: Clock) -> None:
    tenants = TenantCache(stores.directory, ttl=5, clock=clock)
    assert await tenants.get("acme") is None
    tenant = Tenant(tenant_id="acme", created_at=NOON)
    await stores.directory.put_tenant(tenant, expected_version=0)
    assert await tenants.get("acme") is None
    clock.now = 5
    assert await tenants.get("acme") == tenant


async def test_users_of_the_same_id_in_two_tenants_are_two(stores: Stores, clock: Clock) -> None:
    users = UserCache(stores.directory, ttl=5, clock=clock)
    for tenant_id in ("acme", "lumen"):
        await stores.directory.put_user(User(tenant_id=tenant_id, user_id="ana", name=tenant_id, created_at=NOON))
    found = [await users.get(tenant_id, "ana") for tenant_id in ("acme", "lumen")]
    assert [user and user.name for user in found] == ["acme", "lumen"]
    assert await users.get("acme", "nobody") is None
