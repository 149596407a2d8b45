"""Pools that tenants share: nobody takes all of one, and a full one takes from who has most."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.common.pools import SharedCache, Shares


def fill(shares: Shares, tenant: str, user: str, units: int = 1) -> int:
    """How much the user got who takes all that it can."""
    taken = 0
    while shares.has_room(tenant, user, units):
        shares.take(tenant, user, units)
        taken += units
    return taken


def test_user_alone_has_a_quarter_a_tenant_half_and_something_is_always_left() -> None:
    shares = Shares(600)
    assert fill(shares, "a", "u1") == 150
    users = 150 + sum(fill(shares, "a", f"u{n}") for n in range(2, 50))
    assert 295 <= users <= 300
    for tenant in "bcdefgh":
        assert sum(fill(shares, tenant, f"u{n}") for n in range(50)) > 0
    assert shares.taken < 600
    shares.give("a", "u1", 150)
    assert fill(shares, "a", "u1") > 0


def test_who_has_nothing_may_have_one_thing_of_any_size() -> None:
    shares = Shares(100)
    assert shares.has_room("a", "u", 1_000)
    shares.take("a", "u", 1_000)
    assert not shares.has_room("b", "u", 1)
    shares.give("a", "u", 1_000)
    assert (shares.taken, shares._had) == (0, {})


def test_cache_that_is_full_takes_from_the_tenant_that_has_most() -> None:
    cache: SharedCache[str] = SharedCache(100)
    cache.put("quiet", b"q", "kept", 10)
    for n in range(1000):
        cache.put("loud", str(n).encode(), "x", 10)
    assert cache.get("quiet", b"q") == "kept"
    assert (cache.get("loud", b"990"), cache.get("loud", b"991")) == (None, "x")
    assert (len(cache), cache.units) == (10, 100)
    cache.put("loud", b"huge", "x", 1_000)
    assert (cache.get("quiet", b"q"), cache.get("loud", b"huge"), cache.units) == ("kept", None, 10)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(-1, 60))))
def test_cache_counts_what_it_keeps(steps: list[tuple[str, int, int]]) -> None:
    cache: SharedCache[int] = SharedCache(100)
    for tenant, name, units in steps:
        if units < 0:
            cache.pop(tenant, bytes([name]))
        else:
            cache.put(tenant, bytes([name]), units, units)
        kept = [size for of in cache._kept.values() for _, size in of.values()]
        assert cache.units == sum(kept) <= 100
        assert cache._units.total() == cache.units
