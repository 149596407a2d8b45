"""What is due of a thread whose time is up, or that is gone, as each gateway's timers have it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.delayed import DelayedRuns
from core.due_timers import Timers, timer_of
from core.ingress import Ingress
from core.refusals import Limited
from core.thread_expiry import Expiry
from schemas import AcceptedRun, RunsThread, Tenant, ThreadHead, ThreadKey, ThreadTtl, Unavailable, UserMessage
from state import Commit, Stores, Timer, open_stores

KEY, USER = ThreadKey("t", "th"), "u"
NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = open_stores(f"sqlite://{tmp_path}")
    await stores.open()
    await stores.migrate()
    await stores.directory.put_tenant(Tenant(tenant_id=KEY.tenant_id, created_at=NOW), expected_version=0)
    yield stores
    await stores.close()


@pytest.fixture
def nowhere() -> Ingress:
    """To a Kafka that is away: what is produced raises `Unavailable`."""
    return Ingress("127.0.0.1:1", seconds=1)


async def thread(stores: Stores, input_id: str, ttl: ThreadTtl | None = None, *, deleted: bool = False) -> None:
    """Makes or changes the thread as a worker does."""
    found = await stores.journal.hydrate(*KEY, window=0)
    head = ThreadHead(user_id=USER, created_at=NOW, updated_at=NOW, ttl=ttl, deleted=deleted)
    await stores.journal.commit(*KEY, Commit(input_id=input_id, expected_version=found.version, head=head, outputs=b""))


def up(ago: timedelta) -> ThreadTtl:
    return ThreadTtl(minutes=1, expires_at=datetime.now(UTC) - ago)


async def left(stores: Stores) -> list[Timer]:
    return await stores.timers.due(NOW + timedelta(days=36_500), limit=1000)


async def test_thread_that_says_late_when_its_time_was_up_is_deleted_then(stores: Stores, nowhere: Ingress) -> None:
    timers, ttl = Timers(stores.timers, every=1), up(timedelta(hours=5))
    await Expiry(timers, stores.journal, stores.directory, nowhere).set(KEY, USER, ttl)
    await timers.fire_due()
    (waits,) = await left(stores)
    assert datetime.now(UTC) < waits.due < datetime.now(UTC) + timedelta(minutes=10)
    await stores.timers.remove(waits)
    await thread(stores, "in1", ttl)
    await stores.timers.put(Timer(*KEY[:1], USER, waits.timer_id, waits.kind, NOW, waits.body))
    with pytest.raises(Unavailable):  # the deletion was produced
        await timers.fire_due()
    assert len(await left(stores)) == 1
    await thread(stores, "in2", deleted=True)
    await timers.fire_due()
    assert await left(stores) == []


async def test_time_that_no_thread_can_say_any_more_is_forgotten(stores: Stores, nowhere: Ingress) -> None:
    timers = Timers(stores.timers, every=1)
    await Expiry(timers, stores.journal, stores.directory, nowhere).set(KEY, USER, up(timedelta(days=9)))
    await timers.fire_due()
    assert await left(stores) == []


async def test_longer_time_takes_the_timer_of_the_shorter_one_away(stores: Stores, nowhere: Ingress) -> None:
    timers, short = Timers(stores.timers, every=1), up(timedelta(seconds=1))
    await Expiry(timers, stores.journal, stores.directory, nowhere).set(KEY, USER, short)
    await thread(stores, "in1", ThreadTtl(minutes=60, expires_at=LATER))
    await timers.fire_due()
    assert await left(stores) == []


async def test_delayed_runs_of_a_thread_that_is_gone_do_not_count(stores: Stores, nowhere: Ingress) -> None:
    timers, ttl = Timers(stores.timers, every=1), ThreadTtl(minutes=60, expires_at=LATER)
    delayed = DelayedRuns(timers, stores.journal, stores.directory, nowhere, most=2)
    expiry = Expiry(timers, stores.journal, stores.directory, nowhere)
    await thread(stores, "in1", ttl)
    await expiry.set(KEY, USER, ttl)
    for run_id in ("r1", "r2"):
        run = AcceptedRun(run_id=run_id, user_id=USER, agent_id="a", at=NOW, begins_at=LATER)
        await stores.journal.accept(*KEY, run)
        await delayed.put(KEY, run_id, UserMessage(user_id=USER, text="hello"), LATER)
        await delayed.delete_thread_after(KEY, USER, run_id, LATER)
    with pytest.raises(Limited, match="2 runs"):
        await delayed.check(KEY.tenant_id, USER)
    await expiry.gone(KEY, USER, ttl)
    await delayed.check(KEY.tenant_id, USER)
    assert await left(stores) == []


@pytest.mark.parametrize(("hours", "seconds"), [(0, 2), (5, 60)])
async def test_thread_of_a_run_that_takes_long_is_looked_at_less_often(
    stores: Stores, nowhere: Ingress, hours: int, seconds: float
) -> None:
    timers, begins_at = Timers(stores.timers, every=1), NOW - timedelta(hours=hours)
    DelayedRuns(timers, stores.journal, stores.directory, nowhere, most=2)
    await thread(stores, "in1")
    await stores.journal.accept(*KEY, AcceptedRun(run_id="r1", user_id=USER, agent_id="a", at=NOW, begins_at=begins_at))
    what = RunsThread(thread_id=KEY.thread_id, run_id="r1", begins_at=begins_at)
    await stores.timers.put(timer_of(KEY, USER, "r1.end", what, NOW))
    await timers.fire_due()
    (again,) = await left(stores)
    assert (again.due - NOW) % timedelta(seconds=seconds) == timedelta(0)
    assert again.due > NOW
