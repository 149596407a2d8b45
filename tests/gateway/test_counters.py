"""Counts of requests: several at once, all or none, in memory and in a real Redis alike; and whose they are."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis_server import RedisServer

from connectors.gateway.client_address import TrustedProxies, address_key, networks
from connectors.gateway.counters import Counters, Hit, MemoryCounters, Rate, RedisCounters, make_counters
from connectors.gateway.limits import Budgets, Rates
from connectors.gateway.problems import Problem
from connectors.gateway.strangers import LOCAL_TIMES, Strangers
from schemas import SettingsError
from schemas.ids import new_id

MINUTE = Rate(3, 60)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(params=["memory", "redis"])
async def counters(request: pytest.FixtureRequest) -> AsyncIterator[Counters]:
    if request.param == "memory":
        yield MemoryCounters()
        return
    from redis.asyncio import Redis

    client = Redis(port=request.getfixturevalue("redis").port)
    yield RedisCounters(client)
    await client.aclose()


async def test_what_one_limit_refuses_counts_for_no_other(counters: Counters) -> None:
    user, tenant = new_id("u"), new_id("t")
    both = Hit("user", user, MINUTE), Hit("tenant", tenant, Rate(100, 60))
    outcomes = [await counters.hit(*both) for _ in range(5)]
    assert [outcome.refused is None for outcome in outcomes] == [True] * 3 + [False] * 2
    assert outcomes[-1].refused
    assert outcomes[-1].refused.hit.name == "user"
    assert 60 < outcomes[-1].refused.seconds <= 80, "until the window is over, and one of its three has faded"
    assert [count.left for count in outcomes[-1].counts] == [0, 97]


async def test_counts_that_are_asked_for_or_given_back_take_nothing(counters: Counters) -> None:
    key = new_id("k")
    for _ in range(5):
        assert (await counters.hit(Hit("runs", key, MINUTE, 0))).counts[0].left == 3
    assert (await counters.hit(Hit("runs", key, MINUTE, 4))).refused, "more than there may ever be"
    assert not (await counters.hit(Hit("runs", key, MINUTE, 3))).refused
    assert (await counters.hit(Hit("runs", key, MINUTE, 0))).refused
    assert (await counters.hit(Hit("runs", key, MINUTE, -2))).counts[0].left == 2
    assert (await counters.hit(Hit("runs", key, MINUTE, -9))).counts[0].left == 3


async def test_window_slides() -> None:
    now = [0.0]
    counters = MemoryCounters(lambda: now[0])
    hit = Hit("user", "u", Rate(10, 60))
    assert [(await counters.hit(hit)).refused is None for _ in range(11)] == [True] * 10 + [False]
    told = (await counters.hit(hit)).refused
    assert told
    now[0] = told.seconds - 1.001
    assert (await counters.hit(hit)).refused, "told to come a second later"
    now[0] = float(told.seconds)
    assert not (await counters.hit(hit)).refused
    now[0] = 500.0
    assert (await counters.hit(hit)).counts[0].left == 9


async def test_one_round_trip_to_redis_for_all_counts_of_a_request(redis: RedisServer) -> None:
    from redis.asyncio import Redis

    client = Redis(port=redis.port)
    counters = RedisCounters(client)
    hits = [Hit(name, new_id("k"), MINUTE) for name in ("user", "tenant", "runs")]
    await counters.hit(*hits)  # which loads the script
    before = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    await counters.hit(*hits)
    assert (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] == before + 1
    await client.aclose()


def test_store_of_rates_that_is_none_is_refused_without_its_password() -> None:
    for url in ("http://user:hunter2@host", "redis://user:hunter2@host:port"):
        with pytest.raises(SettingsError, match="CAUCE_REDIS") as refused:
            make_counters(url)
        assert "hunter2" not in str(refused.value)


async def test_requests_go_on_while_nothing_can_be_counted() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        budgets = Budgets(Rates(user="1/minute"), make_counters(f"redis://127.0.0.1:{closed.getsockname()[1]}"))
        for _ in range(3):
            assert await budgets.take(Hit("user", "u", budgets.user)) is None


def _scope(client: str | None, *headers: tuple[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "scheme": "http",
        "client": (client, 1) if client else None,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.7", ["203.0.113.1"], "198.51.100.7"),  # nobody we trust says so
        ("10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, 203.0.113.1"], "203.0.113.1"),  # what the client has sent itself is to the left
        ("10.0.0.1", ["6.6.6.6", "203.0.113.1, 10.0.0.9"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1:4711"], "203.0.113.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ["6.6.6.6, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["6.6.6.6, \u00e9"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
    ],
)
async def test_client_is_the_last_address_that_a_trusted_proxy_names(
    peer: str, forwarded: list[str], client: str
) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    scope = _scope(peer, *(("x-forwarded-for", value) for value in forwarded))
    await TrustedProxies(app, trusted=networks("10.0.0.0/8"))(scope, None, None)
    assert seen == [client]


async def test_scheme_is_what_a_trusted_proxy_says() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["scheme"] == scope["expected"]

    for peer, expected in (("10.0.0.1", "https"), ("127.0.0.1", "https"), ("198.51.100.7", "http")):
        scope = _scope(peer, ("x-forwarded-proto", "https")) | {"expected": expected}
        await TrustedProxies(app, trusted=networks("10.0.0.0/8"))(scope, None, None)


def test_what_is_no_list_of_networks_is_refused() -> None:
    assert networks(None) == ()
    with pytest.raises(SettingsError, match="CAUCE_GATEWAY_TRUSTED_PROXIES"):
        networks("10.0.0.0/8, proxy")


def test_ipv6_client_is_counted_by_its_network() -> None:
    assert address_key(_scope("2001:db8:0:1:aaaa::1")) == address_key(_scope("2001:db8:0:1:bbbb::2"))
    assert address_key(_scope("2001:db8:0:1::1")) != address_key(_scope("2001:db8:0:2::1"))
    assert address_key(_scope("::ffff:203.0.113.1")) == address_key(_scope("203.0.113.1")) == ("203.0.113.1", False)
    assert address_key(_scope("::1"))[1]
    assert address_key(_scope(None)) == ("unknown", False)


async def test_wrong_credentials_of_an_address_lock_out_no_credential_that_was_valid() -> None:
    strangers = Strangers(Budgets(Rates(strangers="5/minute")))
    here, elsewhere = _scope("203.0.113.1"), _scope("203.0.113.2")
    strangers.valid("good")
    for n in range(5):
        await strangers.before(here, f"wrong {n}")
        await strangers.count(here)
    with pytest.raises(Problem, match="your address"):
        await strangers.before(here, "wrong 6")
    with pytest.raises(Problem):
        await strangers.count(here)
    await strangers.before(here, "good")
    await strangers.before(elsewhere, "any")


async def test_callers_of_this_machine_are_limited_generously() -> None:
    strangers = Strangers(Budgets(Rates(strangers="5/minute")))
    for _ in range(5 * LOCAL_TIMES):
        await strangers.count(_scope("127.0.0.1"))
    with pytest.raises(Problem):
        await strangers.count(_scope("127.0.0.1"))
