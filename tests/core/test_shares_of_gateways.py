"""What a gateway's tenants share: stateless runs that are waited for, and what waits for slow readers."""

from __future__ import annotations

from typing import Any

import pytest

from core.following.feed import RESYNC, Subscription
from core.principal import Principal
from core.refusals import Limited
from core.stateless import StatelessThreads
from schemas import ThreadKey
from schemas.common.pools import Shares


async def test_user_who_fills_the_stateless_runs_is_refused_and_threads_of_others_are_still_deleted() -> None:
    nothing: Any = None
    stateless = StatelessThreads(nothing, nothing, most=40, seconds=1)
    mallory, colleague, bob = (
        Principal("evil", "mallory"),
        Principal("evil", "col"),
        Principal("acme", "bob"),
    )
    for n in range(10):
        stateless.require_room(mallory)
        stateless.delete_after(mallory, f"t{n}", "r")
    with pytest.raises(Limited) as refused:
        stateless.require_room(mallory)
    assert (refused.value.code, refused.value.retry_after) == ("too_many_stateless_runs", 2)
    for other in (colleague, bob):
        stateless.require_room(other)
        stateless.delete_after(other, "t", "r")
    await stateless.stop()
    stateless.require_room(mallory)
    assert stateless._shares.taken == 0


def test_reader_who_takes_nothing_costs_its_own_thread_its_share_and_nobody_elses() -> None:
    shares = Shares(1_000)
    slow, other = (Subscription(2_000, shares, ThreadKey(*names)) for names in (("evil", "t1"), ("acme", "t2")))
    slow.put(RESYNC, 900)
    slow.put(RESYNC, 1)
    assert slow.overflowed, "one item of any size, and no more"
    other.put(RESYNC, 50)
    assert not other.overflowed
    slow.end()
    other.end()
    assert shares.taken == 0


async def test_reader_who_takes_what_came_has_room_again() -> None:
    shares = Shares(1_000)
    live = Subscription(2_000, shares, ThreadKey("acme", "t1"))
    for _ in range(50):
        live.put(RESYNC, 200)
        assert len(await live.take(1)) == 1
    assert not live.overflowed
    assert shares.taken == 0
