"""What the runtime's tests share: a worker with a small processor, messages in, events out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from prometheus_client import CollectorRegistry

from processors.groups import GROUPS
from schemas import Envelope, Output, RawRecord, Record, RunStarted, Topic, UserMessage, new_id
from schemas.common.metrics import RuntimeMetrics
from streams.contract import RuntimeView
from streams.health import Health, HealthServer
from streams.kafka_clients import close_consumer
from streams.runtime_options import RuntimeOptions
from streams.worker import Worker

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUICK = RuntimeOptions(session_timeout_ms=6000, backoff=0.01, max_backoff=0.2, grace=5, attempts=3)


def event_of(record: Record) -> Output:
    """The event that answers a record: its id is the record's."""
    event = RunStarted(
        seq=1, run_id=record.envelope.id, user_id="u", at=NOW, input_id=record.envelope.id, agent_id="default"
    )
    envelope = Envelope(record.envelope.id, RunStarted.TYPE, "test", record.tenant_id, NOW)
    return Output.of(Topic.CHAT_RESPONSES, record.key, event, envelope)


class Answering:
    """Answers each message with one event, after `seconds`. `seen` counts how often a record was processed."""

    def __init__(self, seconds: float = 0.0, then: Callable[[Record], Awaitable[None]] | None = None) -> None:
        self.seconds, self.then = seconds, then
        self.seen: Counter[str] = Counter()
        self.order: dict[str, list[str]] = defaultdict(list)
        self.running: Counter[str] = Counter()
        self.most_at_once = 0
        self.given_up: list[str] = []
        self.arrivals = 0
        self.arrived_ids: set[str] = set()

    async def process(self, record: Record) -> Sequence[Output]:
        self.seen[record.envelope.id] += 1
        self.running[record.key] += 1
        assert self.running[record.key] == 1, "two records of a key at once"
        self.most_at_once = max(self.most_at_once, self.running.total())
        try:
            await asyncio.sleep(self.seconds)
            if self.then:
                await self.then(record)
        finally:
            self.running[record.key] -= 1
        self.order[record.key].append(record.envelope.id)
        return [event_of(record)]

    async def give_up(self, record: Record, reason: str) -> Sequence[Output]:
        self.given_up.append(record.envelope.id)
        return [event_of(record)]

    def attach(self, runtime: RuntimeView) -> None:
        self.runtime = runtime

    def arrived(self, raw: RawRecord) -> None:
        self.arrivals += 1
        self.arrived_ids.add(dict(raw.headers).get("ce_id", b"").decode())


class MemoryAttempts:
    """Attempts as the store would keep them."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, int, int]] = Counter()

    async def begun(self, group: str, topic: str, partition: int, offset: int) -> int:
        return self.counts[group, topic, partition, offset]

    async def begin(self, group: str, topic: str, partition: int, offset: int) -> int:
        self.counts[group, topic, partition, offset] += 1
        return self.counts[group, topic, partition, offset]

    async def forget(self, group: str, topic: str, partition: int, offset: int) -> None:
        del self.counts[group, topic, partition, offset]


class ServedWorker(Worker):
    """With its health page, which its process serves."""

    def __init__(self, *of: Any, registry: CollectorRegistry, health: Health, **options: Any) -> None:
        super().__init__(*of, registry=registry, health=health, **options)
        self._server = HealthServer(health, registry)

    @property
    def health_address(self) -> str:
        return self._server.address

    async def start(self) -> None:
        await self._server.start()
        await super().start()

    async def stop(self) -> None:
        await super().stop()
        await self._server.stop()


def make_worker(
    bootstrap: str, processor: Any, *, options: RuntimeOptions = QUICK, attempts: Any = None, group: str = "turns"
) -> ServedWorker:
    registry = CollectorRegistry()
    return ServedWorker(
        bootstrap,
        {GROUPS[group]: processor},
        attempts=attempts or MemoryAttempts(),
        options=options,
        registry=registry,
        metrics=RuntimeMetrics(registry),
        health=Health(),
    )


@asynccontextmanager
async def running(bootstrap: str, processor: Any, **options: Any) -> AsyncIterator[ServedWorker]:
    """A worker that has its slots."""
    worker = make_worker(bootstrap, processor, **options)
    try:
        await worker.start()
        await until(lambda: worker.runtime("turns").ready)
        yield worker
    finally:
        await worker.stop()


async def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Chat:
    """Sends messages and counts the committed events that answer them."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.tenant = new_id("t").lower()
        self.answers: Counter[str] = Counter()
        self.order: dict[str, list[str]] = defaultdict(list)
        self.dead: list[dict[str, Any]] = []
        self.audited: list[dict[str, Any]] = []

    async def __aenter__(self) -> Chat:
        self.producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, enable_idempotence=True, metadata_max_age_ms=1000
        )
        await self.producer.start()
        self.consumer = AIOKafkaConsumer(
            *(t.value for t in (Topic.CHAT_RESPONSES, Topic.DEAD_LETTERS, Topic.AUDIT_EVENTS)),
            bootstrap_servers=self.bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="latest",
            enable_auto_commit=False,
        )
        await self.consumer.start()
        for tp in self.consumer.assignment():
            await self.consumer.position(tp)
        self.reading = asyncio.create_task(self.read())
        return self

    async def __aexit__(self, *error: object) -> None:
        self.reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.reading
        await close_consumer(self.consumer)
        await self.producer.stop()

    async def read(self) -> None:
        async for record in self.consumer:
            if record.topic == Topic.DEAD_LETTERS:
                self.dead.append(json.loads(record.value))
            elif record.topic == Topic.AUDIT_EVENTS:
                self.audited.append(json.loads(record.value))
            elif (record.key or b"").startswith(self.tenant.encode()):
                run = json.loads(record.value)["run_id"]
                self.answers[run] += 1
                self.order[record.key.decode()].append(run)

    async def say(self, thread: str, text: str = "hi", *, user: str = "u", tenant: str = "") -> str:
        """Sends a message, of another tenant where `tenant` names it: what is behind this chat's own name."""
        message, tenant = new_id("m"), self.tenant + tenant
        envelope = Envelope(message, UserMessage.TYPE, "test", tenant, NOW)
        await self.raw(
            UserMessage(user_id=user, text=text).to_bytes(), f"{tenant}:{thread}".encode(), envelope.headers()
        )
        return message

    async def raw(
        self, value: bytes | None, key: bytes | None, headers: Sequence[tuple[str, bytes | None]] = (), **where: Any
    ) -> None:
        await self.producer.send_and_wait(Topic.CHAT_MESSAGES.value, value, key=key, headers=list(headers), **where)

    async def answered(self, messages: Sequence[str], seconds: float = 120) -> None:
        """Waits until each message has an answer, and tells if one has two."""
        await until(lambda: all(self.answers[m] for m in messages), seconds)
        assert [self.answers[m] for m in messages] == [1] * len(messages)
