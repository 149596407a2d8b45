"""Kafka or the store away: callers are told when to come again, streams stay open, and nobody restarts anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from door import Door, Frame, on_servers, streamed, until_true

from connectors.emulators import EmulatorProcess
from deploy.cluster import CassandraServer, KafkaServer


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaServer]:
    with KafkaServer(tmp_path / "kafka") as server:
        yield server


@pytest.fixture
def on_kafka(tmp_path: Path, kafka: KafkaServer, emulators: EmulatorProcess) -> Iterator[Door]:
    """A gateway and a worker on a Kafka of their own, with a store on this machine."""
    with on_servers(tmp_path, emulators, CAUCE_KAFKA=kafka.bootstrap) as door:
        yield door


async def test_message_that_kafka_did_not_take_is_sent_again_under_its_key_and_is_one(
    on_kafka: Door, kafka: KafkaServer
) -> None:
    async with on_kafka.caller(on_kafka.key("home", "ida")) as ida:
        thread = (await ida.post("/v1/threads", json={})).json()["thread_id"]
        path, again = f"/v1/threads/{thread}/messages", {"Idempotency-Key": "once"}
        told: list[Frame] = []
        following = asyncio.create_task(_follow(ida, thread, told))
        await until_true(lambda: _some(told))
        await asyncio.to_thread(kafka.kill)

        refused = await ida.post(path, json={"text": "hello"}, headers=again)
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert refused.json()["code"] in ("unavailable", "outcome_unknown")
        assert (await ida.get(f"/v1/threads/{thread}")).status_code == 200, "what is stored can be read"
        await asyncio.to_thread(kafka.start)

        async def taken() -> bool:
            return (await ida.post(path, json={"text": "hello"}, headers=again)).status_code == 202

        await until_true(taken, 120)
        await until_true(lambda: _is_over(told), 120)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        messages = (await ida.get(path)).json()["messages"]
        assert [m["role"] for m in messages] == ["user", "assistant"]
        numbers = [json.loads(e.data)["seq"] for e in told if e.event != "message.delta"]
        assert numbers == list(range(1, len(numbers) + 1))


async def _some(told: list[Frame]) -> bool:
    return bool(told)


async def _is_over(told: list[Frame]) -> bool:
    return told[-1].event == "run.completed"


async def _follow(client: httpx.AsyncClient, thread: str, told: list[Frame]) -> None:
    async with streamed(client, "GET", f"/v1/threads/{thread}/events") as events:
        async for event in events:
            told.append(event)


@pytest.fixture
def stopped(cassandra: CassandraServer) -> Iterator[CassandraServer]:
    yield cassandra
    cassandra.resume()


async def test_store_that_does_not_answer_is_said_and_found_again(cluster: Door, stopped: CassandraServer) -> None:
    async with cluster.caller(cluster.key("home", "joe")) as joe:
        thread = (await joe.post("/v1/threads", json={})).json()["thread_id"]
        stopped.pause()
        refused = await joe.get(f"/v1/threads/{thread}/messages")
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        stopped.resume()

        async def answered() -> bool:
            found = await joe.post(f"/v1/threads/{thread}/runs/wait", json={"text": "hello"})
            return found.status_code == 200 and found.json()["status"] == "completed"

        await until_true(answered, 120)
