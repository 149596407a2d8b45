"""Timers are found when they are due, by whoever looks, however long ago that was. Each test has a time of its own, since all
tenants' timers stand together."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from stored_cells import marked

from state import Stores, Timer

_YEARS = itertools.count(1980)


@pytest.fixture
def start() -> datetime:
    """A time long before those of other tests that run later."""
    return datetime(next(_YEARS), 5, 5, 12, 0, 0, 17, tzinfo=UTC)


def timer(tenant: str, timer_id: str, due: datetime, **fields: str) -> Timer:
    return Timer(tenant, fields.get("user", "u1"), timer_id, fields.get("kind", "run"), due, timer_id.encode())


async def of(stores: Stores, tenant: str, now: datetime, limit: int = 1000) -> list[Timer]:
    return [found for found in await stores.timers.due(now, limit=limit) if found.tenant_id == tenant]


async def test_timers_are_found_from_their_time_on_the_earliest_first(
    stores: Stores, tenant: str, start: datetime
) -> None:
    wanted = [
        timer(tenant, "a", start),
        timer(tenant, "b", start + timedelta(seconds=1)),
        timer(tenant, "c", start + timedelta(hours=30)),
    ]
    for one in reversed(wanted):
        await stores.timers.put(one)
    assert await of(stores, tenant, start - timedelta(microseconds=1)) == []
    assert await of(stores, tenant, start) == wanted[:1]
    assert await of(stores, tenant, start + timedelta(hours=29)) == wanted[:2]
    assert await of(stores, tenant, start + timedelta(days=400)) == wanted
    for one in wanted:
        await stores.timers.remove(one)


async def test_what_was_due_before_a_long_outage_is_found_by_another_process(
    stores: Stores, state_url: str, tenant: str, start: datetime
) -> None:
    one = timer(tenant, "a", start)
    await stores.timers.put(one)
    again = marked(state_url)
    await again.open()
    try:
        assert await of(again, tenant, start + timedelta(days=900)) == [one]
        assert await of(stores, tenant, start + timedelta(days=900)) == [one]
    finally:
        await again.timers.remove(one)
        await again.close()


async def test_removed_timer_is_gone_and_may_be_removed_again(stores: Stores, tenant: str, start: datetime) -> None:
    gone, stays = timer(tenant, "a", start), timer(tenant, "b", start)
    await stores.timers.put(gone)
    await stores.timers.put(stays)
    for _ in range(2):
        await stores.timers.remove(gone)
        assert await of(stores, tenant, start) == [stays]
    await stores.timers.remove(stays)


async def test_emptied_time_takes_timers_again(stores: Stores, tenant: str, start: datetime) -> None:
    one, late = timer(tenant, "a", start), start + timedelta(days=3)
    await stores.timers.put(one)
    await stores.timers.remove(one)
    assert await of(stores, tenant, late) == []
    await stores.timers.put(one)
    assert await of(stores, tenant, late) == [one]
    await stores.timers.remove(one)


async def test_same_timer_is_one_and_at_another_time_it_is_another(
    stores: Stores, tenant: str, start: datetime
) -> None:
    first, moved = timer(tenant, "a", start), timer(tenant, "a", start + timedelta(seconds=5))
    for one in (first, first, moved):
        await stores.timers.put(one)
    assert await of(stores, tenant, moved.due) == [first, moved]
    await stores.timers.remove(first)
    assert await of(stores, tenant, moved.due) == [moved]
    await stores.timers.remove(moved)


async def test_no_more_than_the_limit_is_read_at_a_time(stores: Stores, tenant: str, start: datetime) -> None:
    timers = [timer(tenant, f"t{n}", start + timedelta(minutes=7 * n)) for n in range(5)]
    for one in timers:
        await stores.timers.put(one)
    found: list[Timer] = []
    while some := await stores.timers.due(start + timedelta(hours=1), limit=2):
        assert len(some) <= 2
        found += [one for one in some if one.tenant_id == tenant]
        for one in some:
            await stores.timers.remove(one)
    assert found == timers


async def test_timers_of_a_user_and_kind_are_counted_up_to_the_most(
    stores: Stores, tenant: str, other_tenant: str, start: datetime
) -> None:
    counted = [timer(tenant, f"t{n}", start + timedelta(hours=n)) for n in range(4)]
    others = [
        timer(tenant, "x", start, user="u2"),
        timer(tenant, "y", start, kind="thread"),
        timer(other_tenant, "z", start),
    ]
    for one in (*counted, counted[0], *others):
        await stores.timers.put(one)
    assert await stores.timers.count(tenant, "u1", "run", most=100) == 4
    assert await stores.timers.count(tenant, "u1", "run", most=2) == 2
    assert await stores.timers.count(tenant, "u1", "run", most=0) == 0
    await stores.timers.remove(counted[2])
    assert await stores.timers.count(tenant, "u1", "run", most=100) == 3
    for one in (*counted, *others):
        await stores.timers.remove(one)
    assert await stores.timers.count(tenant, "u1", "run", most=100) == 0


async def test_large_body_comes_back_as_it_was(stores: Stores, tenant: str, start: datetime) -> None:
    one = Timer(tenant, "u1", "large", "run", start, bytes(range(256)) * 3_600)
    await stores.timers.put(one)
    assert await of(stores, tenant, start) == [one]
    await stores.timers.remove(one)
