"""Limits on how often: in memory, and counted together in a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import websockets
from door import Door, Gateway
from redis_server import RedisServer

RATES = {"CAUCE_RATE_USER": "30/hour", "CAUCE_RATE_TENANT": "50/hour", "CAUCE_RATE_RUNS": "5/hour"}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


def _gateways(door: Door, stack: ExitStack, count: int, **settings: str) -> list[Gateway]:
    strict = Door(door.url, door.told, {**door.environment, **RATES, **settings}, door.folder)
    return [stack.enter_context(strict.another()) for _ in range(count)]


def test_user_who_asks_too_often_is_told_when_to_come_back_and_others_are_not_held_up(
    embedded: Door, strict: Gateway
) -> None:
    tenant = embedded.tenant()
    busy, calm = embedded.key(tenant, "busy"), embedded.key(tenant, "calm")
    with httpx.Client(base_url=strict.url, trust_env=False, timeout=120) as client:
        told = [client.get("/v1/me", headers={"x-api-key": busy}) for _ in range(32)]
        assert [r.status_code for r in told] == [200] * 30 + [429] * 2
        assert told[-1].json()["code"] == "rate_limited"
        assert 0 < int(told[-1].headers["retry-after"]) <= 3_720, "an hour, and until one of the 30 has faded"
        assert told[0].headers["ratelimit-policy"] == '"user";q=30;w=3600'
        assert told[0].headers["ratelimit"].startswith('"user";r=29;')
        assert client.get("/v1/me", headers={"x-api-key": calm}).status_code == 200


def test_messages_have_a_limit_of_their_own(embedded: Door, strict: Gateway) -> None:
    key = embedded.key(embedded.tenant(), "lea")
    with httpx.Client(base_url=strict.url, headers={"x-api-key": key}, trust_env=False, timeout=120) as client:
        thread = client.post("/v1/threads", json={}).json()["thread_id"]
        path = f"/v1/threads/{thread}/messages"
        sent = [client.post(path, json={"text": "hello"}).status_code for _ in range(6)]
        assert sent == [202] * 5 + [429]
        assert client.get(path).status_code == 200


SAYS = {"messages": [{"role": "user", "content": "hello"}]}
LG_RUN = {"assistant_id": "agent", "input": SAYS}
AGUI = {"state": {}, "messages": [{"id": "1", "role": "user", "content": "hello"}], "tools": [], "context": []}


def _agui(n: int) -> dict[str, Any]:
    return {**AGUI, "threadId": f"a{n}", "runId": f"r{n}", "forwardedProps": {}}


WAYS: dict[str, tuple[str, Callable[[int], Any], int]] = {
    "v1 message": ("/v1/threads/T/messages", lambda n: {"text": "hello"}, 1),
    "v1 stream": ("/v1/threads/T/runs/stream", lambda n: {"text": "hello"}, 1),
    "lg run": ("/lg/threads/T/runs", lambda n: LG_RUN, 1),
    "lg run in a thread that it makes": (
        "/lg/threads/new/runs",
        lambda n: {**LG_RUN, "if_not_exists": "create"},
        1,
    ),
    "lg command": (
        "/lg/threads/T/commands",
        lambda n: {"id": n, "method": "run.start", "params": LG_RUN},
        1,
    ),
    "lg stateless run": ("/lg/runs", lambda n: LG_RUN, 1),
    "lg stateless run that is waited for": ("/lg/runs/wait", lambda n: LG_RUN, 1),
    "lg batch": ("/lg/runs/batch", lambda n: [LG_RUN, LG_RUN], 2),
    "lg state": ("/lg/threads/T/state", lambda n: {"values": SAYS}, 1),
    "lg copy": ("/lg/threads/T/copy", lambda n: {}, 5),
    "agui": ("/agui", _agui, 1),
    "agui with a named agent": ("/agui/default", _agui, 1),
}
"""Ways to have work done: the path with a thread T, a body, and the runs that each costs. Five are allowed."""


def test_what_starts_work_costs_the_same_over_every_protocol_and_what_is_refused_costs_nothing(
    embedded: Door, strict: Gateway
) -> None:
    tenant = ""
    for n, (way, (path, body, cost)) in enumerate(WAYS.items()):
        if n % 3 == 0:
            tenant = embedded.tenant()  # whose limit is 50 requests
        key = embedded.key(tenant, f"user{n}")
        with httpx.Client(base_url=strict.url, headers={"x-api-key": key}, trust_env=False, timeout=120) as client:
            thread = client.post("/v1/threads", json={}).json()["thread_id"]
            path = path.replace("T", thread)
            for _ in range(6 if "copy" not in way else 0):  # which has no body
                assert client.post(path, json=[] if cost == 2 else 1).status_code in (200, 422), way
            sent = [client.post(path, json=body(100 * n + attempt)) for attempt in range(5 // cost + 1)]
            assert [r.status_code < 300 for r in sent] == [True] * (5 // cost) + [False], (way, sent[-1].text)
            refused = sent[-1]
            assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited"), way
            assert refused.headers["ratelimit-policy"] == '"runs";q=5;w=3600'


def test_commands_of_a_websocket_cost_what_requests_do(embedded: Door, strict: Gateway) -> None:
    key = embedded.key(embedded.tenant(), "wanda")

    async def told(url: str) -> list[dict[str, Any]]:
        address = f"{url.replace('http', 'ws')}/lg/threads/w/stream/events"
        async with websockets.connect(address, additional_headers={"x-api-key": key}) as socket:
            answers = []
            for n in range(7):
                params = LG_RUN if n else {"assistant_id": 1}  # the first is no run, and costs none
                await socket.send(json.dumps({"id": n, "method": "run.start", "params": params}))
                answers.append(json.loads(await socket.recv()))
            return answers

    answers = asyncio.run(told(strict.url))
    assert [answer["type"] for answer in answers] == ["error"] + ["success"] * 5 + ["error"], answers
    assert "5 runs of yours" in answers[-1]["message"]


def test_user_who_is_refused_uses_up_nothing_of_the_tenant(embedded: Door, strict: Gateway) -> None:
    tenant = embedded.tenant()
    busy, calm = embedded.key(tenant, "busy", "--scope", "read"), embedded.key(tenant, "calm")
    with httpx.Client(base_url=strict.url, trust_env=False, timeout=120) as client:
        refused = [client.post("/v1/threads", json={}, headers={"x-api-key": busy}) for _ in range(90)]
        assert [r.status_code for r in refused] == [403] * 30 + [429] * 60
        assert client.get("/v1/me", headers={"x-api-key": calm}).status_code == 200


def test_gateways_count_together_in_redis_and_go_on_without_it(embedded: Door, redis: RedisServer) -> None:
    key = embedded.key(embedded.tenant(), "rob")
    with ExitStack() as stack:
        both = _gateways(embedded, stack, 2, CAUCE_REDIS=f"redis://127.0.0.1:{redis.port}")
        headers = {"x-api-key": key}
        told = [
            httpx.get(
                f"{both[n % 2].url}/v1/me", headers=headers, trust_env=False, verify=False, timeout=120
            ).status_code
            for n in range(32)
        ]
        assert told == [200] * 30 + [429] * 2
        redis.kill()
        assert {
            httpx.get(f"{g.url}/v1/me", headers=headers, trust_env=False, verify=False, timeout=120).status_code
            for g in both
        } == {200}
        redis.start()
        again = [
            httpx.get(f"{both[0].url}/v1/me", headers=headers, trust_env=False, verify=False, timeout=120).status_code
            for _ in range(31)
        ]
        assert again[-1] == 429
