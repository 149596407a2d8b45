"""What is due happens, late rather than never, and a timer that fails holds no other up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.delayed import DelayedRuns
from core.due_timers import Timers, later
from core.ingress import Ingress
from core.refusals import Limited
from schemas import DelayedRun, ThreadKey, Unavailable, UserMessage
from state import Stores, Timer, open_stores

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KIND = "test"


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = open_stores(f"sqlite://{tmp_path}")
    await stores.open()
    await stores.migrate()
    yield stores
    await stores.close()


def timer(timer_id: str, due: datetime = NOON, kind: str = KIND) -> Timer:
    return Timer("t", "u", timer_id, kind, due, b"{}")


async def left(stores: Stores) -> list[tuple[str, datetime]]:
    found = await stores.timers.due(NOON + timedelta(days=36_500), limit=1000)
    return [(one.timer_id, one.due) for one in found]


async def test_timers_of_long_ago_all_happen_once_and_are_gone(stores: Stores) -> None:
    timers, fired = Timers(stores.timers, every=1), list[str]()

    async def fires(one: Timer) -> None:
        fired.append(one.timer_id)

    timers.on(KIND, fires)
    for n in range(50):
        await timers.put(timer(f"x{n:02}", NOON + timedelta(seconds=n)))
    await timers.fire_due()
    await timers.fire_due()
    assert sorted(fired) == [f"x{n:02}" for n in range(50)]
    assert await left(stores) == []


async def test_timer_that_is_put_here_happens_on_time_and_one_from_elsewhere_at_the_next_look(stores: Stores) -> None:
    fired: asyncio.Queue[str] = asyncio.Queue()

    async def fires(one: Timer) -> None:
        fired.put_nowait(one.timer_id)

    rarely, often = Timers(stores.timers, every=3600), Timers(stores.timers, every=0.01)
    for timers in (rarely, often):
        timers.on(KIND, fires)
    await rarely.start()
    await rarely.put(timer("here", datetime.now(UTC) + timedelta(seconds=0.05)))
    async with asyncio.timeout(120):
        assert await fired.get() == "here"
        while await left(stores):  # who looks before it is taken away does it, too
            await asyncio.sleep(0.01)
    await often.start()
    await stores.timers.put(timer("elsewhere"))
    async with asyncio.timeout(120):
        assert await fired.get() == "elsewhere"
    await rarely.stop()
    await often.stop()


async def test_several_who_look_at_once_do_not_make_a_timer_that_comes_again_into_many(stores: Stores) -> None:
    looking = [Timers(stores.timers, every=1) for _ in range(4)]

    async def fires(one: Timer) -> datetime:
        await asyncio.sleep(0)
        return later(one, 86_400 * 365)

    for timers in looking:
        timers.on(KIND, fires)
    await stores.timers.put(timer("again"))
    await asyncio.gather(*(timers.fire_due() for timers in looking))
    (again,) = await left(stores)
    assert again[1] > datetime.now(UTC)
    assert (again[1] - NOON) % timedelta(days=365) == timedelta(0)


async def test_timer_that_fails_or_that_nobody_knows_comes_again_and_holds_no_other_up(stores: Stores) -> None:
    timers, fired = Timers(stores.timers, every=1), list[str]()

    async def fires(one: Timer) -> None:
        if one.timer_id.startswith("bad"):
            raise RuntimeError("broken")
        fired.append(one.timer_id)

    timers.on(KIND, fires)
    for n in range(30):
        await timers.put(timer(f"bad{n}") if n % 2 else timer(f"new{n}", kind="of a newer version"))
    await timers.put(timer("good", NOON + timedelta(seconds=1)))
    await timers.fire_due()
    assert fired == ["good"]
    again = await left(stores)
    assert len(again) == 30
    assert all(due > datetime.now(UTC) for _, due in again)


async def test_timer_that_cannot_happen_while_a_server_is_away_stays_as_it_is(stores: Stores) -> None:
    timers, away, fired = Timers(stores.timers, every=1), [True], list[str]()

    async def fires(one: Timer) -> None:
        if away[0]:
            raise Unavailable("Kafka is away")
        fired.append(one.timer_id)

    timers.on(KIND, fires)
    for n in range(25):
        await timers.put(timer(f"x{n}"))
    with pytest.raises(Unavailable):
        await timers.fire_due()
    assert len(await left(stores)) == 25
    away[0] = False
    await timers.fire_due()
    assert len(fired) == 25
    assert await left(stores) == []


async def test_timers_that_have_to_wait_for_a_server_hold_no_other_up(stores: Stores) -> None:
    timers, fired = Timers(stores.timers, every=1), list[str]()

    async def fires(one: Timer) -> None:
        if one.timer_id.startswith("away"):
            raise Unavailable("a partition has no leader")
        fired.append(one.timer_id)

    timers.on(KIND, fires)
    for n in range(45):
        await timers.put(timer(f"away{n}"))
        await timers.put(timer(f"good{n}", NOON + timedelta(seconds=1)))
    with pytest.raises(Unavailable):
        await timers.fire_due()
    assert sorted(fired) == sorted(f"good{n}" for n in range(45))
    assert len(await left(stores)) == 45


@pytest.mark.parametrize("behind", [0, 59, 60, 61, 3600])
def test_next_time_is_on_the_grid_of_the_first_and_after_now(behind: int) -> None:
    now = NOON + timedelta(seconds=behind)
    due = later(timer("x"), 60, now=now)
    assert now < due <= now + timedelta(seconds=60)
    assert (due - NOON) % timedelta(seconds=60) == timedelta(0)


async def test_user_has_a_bounded_number_of_delayed_runs(stores: Stores) -> None:
    timers = Timers(stores.timers, every=1)
    delayed = DelayedRuns(timers, stores.journal, stores.directory, Ingress("127.0.0.1:1", seconds=1), most=2)
    key, message = ThreadKey("t", "th"), UserMessage(user_id="u", text="hello")
    for run_id in ("r1", "r2"):
        await delayed.check("t", "u")
        await delayed.put(key, run_id, message, NOON)
    with pytest.raises(Limited, match="2 runs") as refused:
        await delayed.check("t", "u")
    assert refused.value.retry_after == 60
    await delayed.check("t", "somebody-else")
    (first, _) = await stores.timers.due(NOON)
    kept = DelayedRun.model_validate_json(first.body)
    assert (kept.thread_id, kept.run_id, kept.input) == ("th", "r1", message)
    await timers.remove(first)
    await delayed.check("t", "u")
