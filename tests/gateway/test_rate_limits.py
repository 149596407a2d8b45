"""Limits on how often: in memory, and counted together in a real Redis."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from door import Door, Gateway, until

from deploy.cluster.process import free_port

RATES = {"CAUCE_RATE_USER": "30/minute", "CAUCE_RATE_TENANT": "50/minute", "CAUCE_RATE_RUNS": "5/minute"}


class Redis:
    """A `redis-server` that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        assert program, "the tests need redis-server (deploy/test_tools.sh)"
        self.port, self._folder, self._program = free_port(), folder, program
        self.start()

    def start(self) -> None:
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self._process = subprocess.Popen([self._program, *options], cwd=self._folder, stdout=subprocess.DEVNULL)
        until(lambda: self._answers(), 120)

    def _answers(self) -> bool:
        import socket

        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


def _gateways(door: Door, stack: ExitStack, count: int, **settings: str) -> list[Gateway]:
    strict = Door(door.url, door.told, {**door.environment, **RATES, **settings}, door.folder)
    return [stack.enter_context(strict.another()) for _ in range(count)]


def test_user_who_asks_too_often_is_told_when_to_come_back_and_others_are_not_held_up(embedded: Door) -> None:
    tenant = embedded.tenant()
    busy, calm = embedded.key(tenant, "busy"), embedded.key(tenant, "calm")
    with ExitStack() as stack:
        (gateway,) = _gateways(embedded, stack, 1)
        with httpx.Client(base_url=gateway.url, trust_env=False, timeout=120) as client:
            told = [client.get("/v1/me", headers={"x-api-key": busy}) for _ in range(32)]
            assert [r.status_code for r in told] == [200] * 30 + [429] * 2
            assert told[-1].json()["code"] == "rate_limited"
            assert 0 < int(told[-1].headers["retry-after"]) <= 60
            assert told[0].headers["ratelimit-policy"] == '"user";q=30;w=60'
            assert told[0].headers["ratelimit"].startswith('"user";r=29;')
            assert client.get("/v1/me", headers={"x-api-key": calm}).status_code == 200


def test_messages_have_a_limit_of_their_own(embedded: Door) -> None:
    key = embedded.key(embedded.tenant(), "lea")
    with ExitStack() as stack:
        (gateway,) = _gateways(embedded, stack, 1)
        with httpx.Client(base_url=gateway.url, headers={"x-api-key": key}, trust_env=False, timeout=120) as client:
            thread = client.post("/v1/threads", json={}).json()["thread_id"]
            path = f"/v1/threads/{thread}/messages"
            sent = [client.post(path, json={"text": "hello"}).status_code for _ in range(6)]
            assert sent == [202] * 5 + [429]
            assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/agui", "/agui/helper", "/lg/runs/wait"])
def test_runs_count_over_every_protocol_whatever_agent_is_named(embedded: Door, path: str) -> None:
    key = embedded.key(embedded.tenant(), "mia")
    with ExitStack() as stack:
        (gateway,) = _gateways(embedded, stack, 1)
        with httpx.Client(base_url=gateway.url, headers={"x-api-key": key}, trust_env=False, timeout=120) as client:
            sent = [client.post(path, json={}).status_code for _ in range(6)]  # refused, and counted all the same
            assert sent == [422] * 5 + [429]


def test_gateways_count_together_in_redis_and_go_on_without_it(embedded: Door, redis: Redis) -> None:
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
