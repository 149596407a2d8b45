"""People who talk to a tenant, and what came of it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from aiokafka import AIOKafkaConsumer
from emulated import bearer
from worker_processes import OnServers

from connectors.chat_client import ChatClient
from schemas import TERMINAL_TYPES, ToolFinished, Topic
from streams.kafka_clients import close_consumer

_ENDS = {t.encode() for t in TERMINAL_TYPES}


class Talk:
    """Messages to a tenant, and a count of the committed ends of their runs, repeats included."""

    def __init__(self, client: ChatClient) -> None:
        self._client = client
        self.ends: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.tools: Counter[str] = Counter()
        """Tool calls by the status that was told."""

    async def say(self, *texts: str) -> list[str]:
        """Sends each text in a thread of its own; the ids of their runs."""
        return [await self._client.send(f"{text.replace(' ', '-')}", text) for text in texts]

    async def again(self, thread: str, text: str) -> str:
        """Sends one more text in a thread; the id of its run."""
        return await self._client.send(thread.replace(" ", "-"), text)

    async def read(self, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            kind, event = dict(record.headers)["ce_type"], json.loads(record.value)
            if kind in _ENDS:
                self.ends[event["run_id"]] += 1
                self.kinds[kind.decode()] += 1
            elif kind == ToolFinished.TYPE.encode():
                self.tools[event["status"]] += 1

    async def ended_once(self, runs: list[str], seconds: float = 120) -> None:
        async with asyncio.timeout(seconds):
            while not all(self.ends[run] for run in runs):
                await asyncio.sleep(0.05)
        assert [self.ends[run] for run in runs] == [1] * len(runs)


@asynccontextmanager
async def talk(servers: OnServers, tenant: str) -> AsyncIterator[Talk]:
    kafka = servers.environment["CAUCE_KAFKA"]
    consumer = AIOKafkaConsumer(
        Topic.CHAT_RESPONSES.value,
        bootstrap_servers=kafka,
        auto_offset_reset="latest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    await asyncio.gather(*(consumer.position(tp) for tp in consumer.assignment()))
    async with ChatClient(kafka, tenant, "owner") as client:
        talking = Talk(client)
        reading = asyncio.create_task(talking.read(consumer))
        try:
            yield talking
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            await close_consumer(consumer)


async def effects(servers: OnServers, text: str) -> Counter[str]:
    """How often a task whose name contains `text` was made, by name."""
    async with httpx.AsyncClient(
        base_url=servers.environment["CAUCE_ARCADE_URL"],
        headers=bearer(servers.environment["ARCADE_API_KEY"]),
        trust_env=False,
        timeout=120,
    ) as client:
        made = (await client.get("/_ctl/effects")).json()["effects"]
    return Counter(name for e in made if text in (name := str(e.get("name", ""))))
