"""Lanes: order within a key, fair turns between tenants, limits that hold."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.lanes import Lanes

ITEMS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=80)
AT_ONCE = st.integers(1, 6)


def user_of(key: object) -> str:
    """Two users a tenant: one has threads 0 to 2, the other 3 and 4."""
    return "early" if str(key)[-1] in "012" else "late"


@given(ITEMS, AT_ONCE, AT_ONCE, AT_ONCE, st.randoms(use_true_random=False))
def test_any_schedule_keeps_order_within_a_key_and_the_limits_and_loses_nothing(
    work: list[tuple[str, int]], max_running: int, tenant_running: int, user_running: int, random: object
) -> None:
    lanes: Lanes[tuple[str, int]] = Lanes(
        max_running=max_running, tenant_running=tenant_running, user_running=user_running
    )
    waiting = [(tenant, f"{tenant}{key}", n) for n, (tenant, key) in enumerate(work)]
    running: dict[object, tuple[str, int]] = {}
    seen: dict[object, list[int]] = defaultdict(list)
    while waiting or running or lanes.queued:
        if waiting and random.random() < 0.6:  # type: ignore[attr-defined]
            tenant, key, n = waiting.pop(0)
            lanes.put(key, tenant, user_of(key), (tenant, n))
        if (taken := lanes.take()) is not None:
            key, item = taken
            assert key not in running, "two items of one key at once"
            running[key] = item
            seen[key].append(item[1])
            assert lanes.running == len(running) <= max_running
            for tenant in "abc":
                assert sum(t == tenant for t, _ in running.values()) <= tenant_running
                for user in ("early", "late"):
                    of_user = [key for key, (t, _) in running.items() if (t, user_of(key)) == (tenant, user)]
                    assert len(of_user) <= user_running
        elif running:
            key = random.choice(sorted(running, key=str))  # type: ignore[attr-defined]
            del running[key]
            lanes.done(key)
    assert sum(map(len, seen.values())) == len(work)
    assert all(numbers == sorted(numbers) for numbers in seen.values())


def test_a_tenant_with_a_thousand_messages_does_not_delay_another_by_more_than_one_turn() -> None:
    lanes: Lanes[int] = Lanes(max_running=1, tenant_running=1, user_running=1)
    for n in range(1000):
        lanes.put(f"loud{n}", "loud", "u", n)
    lanes.put("quiet", "quiet", "u", -1)
    started = []
    for _ in range(3):
        key, item = lanes.take() or pytest.fail("work is waiting")
        started.append(item)
        lanes.done(key)
    assert -1 in started[:2]


def test_one_tenant_cannot_take_every_place() -> None:
    lanes: Lanes[int] = Lanes(max_running=4, tenant_running=3, user_running=3)
    for n in range(10):
        lanes.put(n, "loud", "u", n)
    assert [lanes.take() is not None for _ in range(5)] == [True, True, True, False, False]
    lanes.put("q", "quiet", "u", 1)
    assert lanes.take() == ("q", 1)


def test_a_user_with_a_thousand_messages_delays_another_of_the_same_tenant_by_one_turn_and_takes_not_every_place() -> (
    None
):
    lanes: Lanes[str] = Lanes(max_running=9, tenant_running=4, user_running=3)
    for n in range(1000):
        lanes.put(n, "t", "loud", f"loud{n}")
    lanes.put("q", "t", "quiet", "quiet")
    started = [lanes.take(), lanes.take()]
    assert ("q", "quiet") in started
    lanes.done("q")
    assert [lanes.take() is not None for _ in range(3)] == [True, True, False], "two beside the first, and no fourth"
    lanes.put("q", "t", "quiet", "again")
    assert lanes.take() == ("q", "again")


def test_dropping_queued_items_leaves_running_ones_and_other_lanes() -> None:
    lanes: Lanes[str] = Lanes(max_running=9, tenant_running=9, user_running=9)
    for key, item in (("k", "old1"), ("k", "old2"), ("m", "old3"), ("n", "new")):
        lanes.put(key, "t", "u", item)
    assert lanes.take() == ("k", "old1")
    assert lanes.drop(lambda item: item.startswith("old")) == ["old2", "old3"]
    lanes.done("k")
    lanes.put("m", "t", "u", "fresh")
    assert [lanes.take(), lanes.take(), lanes.take()] == [("n", "new"), ("m", "fresh"), None]
    assert lanes.queued == 0


def test_what_waits_behind_a_running_item_can_be_looked_at_in_its_order() -> None:
    lanes: Lanes[str] = Lanes(max_running=9, tenant_running=9, user_running=9)
    for key, item in (("k", "first"), ("k", "second"), ("m", "other"), ("k", "third")):
        lanes.put(key, "t", "u", item)
    lanes.take()
    assert lanes.waiting("k") == ("second", "third")
    assert lanes.waiting("nobody") == ()


def test_a_lane_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Lanes(max_running=0, tenant_running=1, user_running=1)
