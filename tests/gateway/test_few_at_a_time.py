"""Large answers are made few at a time, and users take turns."""

from __future__ import annotations

import asyncio

import pytest

from connectors.gateway.few_at_a_time import MOST_WAITING, FewAtATime
from core.refusals import Limited


async def test_one_user_has_few_places_and_another_need_not_wait() -> None:
    gate, inside, go = FewAtATime(each=2, together=3), list[str](), asyncio.Event()

    async def make(who: str) -> None:
        async with gate.place(who):
            inside.append(who)
            await go.wait()

    async with asyncio.TaskGroup() as group:
        for who in ("ana", "ana", "ana", "ana", "bob", "bob"):
            group.create_task(make(who))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sorted(inside) == ["ana", "ana", "bob"]
        go.set()
    assert sorted(inside) == ["ana"] * 4 + ["bob"] * 2


async def test_users_take_turns_while_places_are_rare() -> None:
    gate, order = FewAtATime(each=5, together=1), list[str]()

    async def make(who: str) -> None:
        async with gate.place(who):
            order.append(who)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for who in ("ana", "ana", "ana", "ana", "bob", "cleo"):
            group.create_task(make(who))
    assert order.index("bob") < 3
    assert order.index("cleo") < 4


async def test_whoever_stops_waiting_leaves_the_place_to_the_next() -> None:
    gate, done = FewAtATime(each=1, together=1), asyncio.Event()

    async def make() -> None:
        async with gate.place("ana"):
            done.set()

    async with gate.place("ana"):
        first, second = asyncio.create_task(make()), asyncio.create_task(make())
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    await second
    assert done.is_set()


async def test_too_many_who_wait_are_refused() -> None:
    gate = FewAtATime(each=1, together=1)

    async def make() -> None:
        async with gate.place("ana"):
            pass

    async with gate.place("ana"):
        waiting = [asyncio.create_task(make()) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Limited):
            await make()
    await asyncio.gather(*waiting)
