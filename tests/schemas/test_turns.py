"""Turns: tenants take turns, then users, whoever came first; and no turn is ever lost."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.common.turns import Rotation, Turns


def test_a_thousand_of_one_tenant_delay_the_first_of_another_by_one_turn() -> None:
    rotation: Rotation[str] = Rotation()
    for n in range(1000):
        rotation.put("loud", f"u{n % 3}", f"loud{n}")
    rotation.put("quiet", "u", "quiet")
    assert "quiet" in [rotation.take(), rotation.take()]
    rotation.put("loud", "other", "other")
    assert "other" in [rotation.take() for _ in range(4)], "four users take turns"
    assert len(rotation) == 1002 - 6


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"))), st.randoms(use_true_random=False))
def test_whatever_comes_when_nothing_is_lost_and_a_user_is_first_in_first_out(
    puts: list[tuple[str, str]], random: object
) -> None:
    rotation: Rotation[tuple[str, str, int]] = Rotation()
    left, taken = deque(enumerate(puts)), list[tuple[str, str, int]]()
    while left or len(rotation):
        if left and random.random() < 0.5:  # type: ignore[attr-defined]
            n, (tenant, user) = left.popleft()
            rotation.put(tenant, user, (tenant, user, n))
        elif len(rotation):
            taken.append(rotation.take())
    assert sorted(n for _, _, n in taken) == list(range(len(puts)))
    for whose in set(puts):
        numbers = [n for tenant, user, n in taken if (tenant, user) == whose]
        assert numbers == sorted(numbers)
    with pytest.raises(IndexError):
        rotation.take()


async def test_as_many_as_may_hold_a_turn_do_and_the_others_come_tenant_by_tenant() -> None:
    turns, order, go_on = Turns(2), list[str](), asyncio.Event()

    async def work(tenant: str) -> None:
        async with turns.turn(tenant):
            order.append(tenant)
            await go_on.wait()

    tasks = [asyncio.create_task(work(tenant)) for tenant in [*["loud"] * 10, "quiet"]]
    await asyncio.sleep(0)
    assert order == ["loud", "loud"]
    assert turns.waiting == 9
    go_on.set()
    await asyncio.gather(*tasks)
    assert "quiet" in order[2:4]


@given(st.integers(1, 3), st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40))
def test_no_turn_is_lost_with_who_is_cancelled_or_fails(most: int, steps: list[tuple[int, bool]]) -> None:
    async def live() -> None:
        turns, holding = Turns(most), 0

        async def work(fails: bool) -> None:
            nonlocal holding
            async with turns.turn("t"):
                holding += 1
                assert holding <= most
                try:
                    await asyncio.sleep(0)
                    if fails:
                        raise ValueError
                finally:
                    holding -= 1

        tasks = list[asyncio.Task[None]]()
        for victim, fails in steps:
            tasks.append(asyncio.create_task(work(fails)))
            if victim < len(tasks):
                tasks[victim].cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(most):
            async with asyncio.timeout(120):
                await turns.take("t")

    asyncio.run(live())
