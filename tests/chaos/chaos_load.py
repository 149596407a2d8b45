"""At least a hundred people who write, wait for the end of their run, think, and write again; and a book of what came back."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiokafka.errors import KafkaError

from schemas import TERMINAL_TYPES, Envelope, ToolFinished, Topic, UserMessage, new_id
from streams.kafka_clients import close_consumer, close_producer
from streams.kafka_servers import Kafka, new_consumer, new_producer

_ENDS = {kind.encode() for kind in TERMINAL_TYPES}
THINK_SECONDS = 12.0


@dataclass
class Book:
    """What was sent and what came back. Times are monotonic, in seconds."""

    accepted: dict[str, float] = field(default_factory=dict)
    """Run: when its message was acknowledged first."""
    places: dict[str, str] = field(default_factory=dict)
    """Run: thread and partition of its message."""
    ended: dict[str, float] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    tools: Counter[str] = field(default_factory=Counter)
    """Tool calls by what the model was told about them."""
    sequence: dict[str, int] = field(default_factory=dict)
    disorder: list[str] = field(default_factory=list)
    """Events that came twice or out of their order, in the committed view."""
    samples: list[tuple[float, int, float]] = field(default_factory=list)
    """Each second: time, runs ended so far, age of the oldest unanswered input."""

    def open_since(self, moment: float) -> list[str]:
        """Runs that were accepted before a moment and have not ended."""
        return [run for run, at in self.accepted.items() if at <= moment and run not in self.ended]

    def oldest(self) -> float:
        """Age of the oldest input without an end."""
        now = time.monotonic()
        return max((now - self.accepted[run] for run in self.open_since(now)), default=0.0)


class Load:
    """`clients` people in threads of their own, spread over tenants."""

    def __init__(self, bootstrap: Kafka, tenants: tuple[str, ...], clients: int, chance: random.Random) -> None:
        self.book = Book()
        self._bootstrap, self._tenants, self._clients, self._random = bootstrap, tenants, clients, chance
        self._talking = True
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to listen and to talk."""
        self._producer = new_producer(bootstrap_servers=self._bootstrap, acks="all", linger_ms=2)
        self._consumer = new_consumer(
            Topic.CHAT_RESPONSES.value,
            bootstrap_servers=self._bootstrap,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
        )
        await self._producer.start()
        await self._consumer.start()
        people = (self._person(n) for n in range(self._clients))
        self._tasks = [asyncio.create_task(work) for work in (self._listen(), self._sample(), *people)]

    async def finish(self, seconds: float) -> None:
        """Stops talking and waits for what is open, at most so long."""
        self._talking = False
        deadline = time.monotonic() + seconds
        while self.book.open_since(time.monotonic()) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)  # what comes twice would come by now
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await close_consumer(self._consumer)
        await close_producer(self._producer)

    async def _person(self, number: int) -> None:
        tenant, thread = self._tenants[number % len(self._tenants)], f"chaos-{number}"
        while self._talking:
            await asyncio.sleep(self._random.uniform(0, 2 * THINK_SECONDS))
            run = new_id("m")
            if not self._talking:
                return
            await self._send(tenant, thread, run)
            while run not in self.book.ended:
                await asyncio.sleep(0.05)

    async def _send(self, tenant: str, thread: str, run: str) -> None:
        """Until it is acknowledged. An acknowledgement that is lost means a second record of the same message."""
        envelope = Envelope(run, UserMessage.TYPE, "tests/chaos", tenant, datetime.now(UTC))
        value, key = UserMessage(user_id="u", text=run).to_bytes(), f"{tenant}:{thread}".encode()
        while True:
            try:
                sent = await self._producer.send_and_wait(
                    Topic.CHAT_MESSAGES.value, value, key=key, headers=list(envelope.headers())
                )
            except KafkaError:
                await asyncio.sleep(0.2)
                continue
            self.book.accepted.setdefault(run, time.monotonic())
            self.book.places[run] = f"{thread} in partition {sent.partition}"
            return

    async def _listen(self) -> None:
        async for record in self._consumer:
            self._note(record)

    def _note(self, record: Any) -> None:
        book, now = self.book, time.monotonic()
        kind, event, thread = dict(record.headers)["ce_type"], json.loads(record.value), record.key.decode()
        expected = book.sequence.get(thread, 0) + 1
        if event["seq"] != expected:
            book.disorder.append(f"{thread}: event {event['seq']} ({kind.decode()}) where {expected} was to come")
        book.sequence[thread] = event["seq"]
        if kind == ToolFinished.TYPE.encode():
            book.tools[
                event["status"] if event["status"] == "ok" else f"{event['status']}: {event['content'][:80]}"
            ] += 1
        if kind in _ENDS:
            run = event["run_id"]
            book.ends[run] += 1
            book.kinds[kind.decode()] += 1
            book.accepted.setdefault(run, now)  # its acknowledgement is still on the way
            book.ended.setdefault(run, now)

    async def _sample(self) -> None:
        while True:
            self.book.samples.append((time.monotonic(), len(self.book.ended), self.book.oldest()))
            await asyncio.sleep(1)
