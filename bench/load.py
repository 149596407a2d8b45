"""Closed-loop clients on Kafka: each sends a message, waits for its run to end, and sends the next."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench.figures import Figures, compiler_seconds, figures, measured
from bench.systems import TENANTS
from schemas import TERMINAL_TYPES, Delta, Envelope, Topic, UserMessage, new_id
from streams.kafka_servers import Kafka, new_consumer, new_producer

PATIENCE = 120.0
_TERMINAL = {t.encode() for t in TERMINAL_TYPES}
_DELTA = Delta.TYPE.encode()


@dataclass
class Asked:
    """A sent message; times in seconds of `time.perf_counter`, 0 for what has not arrived."""

    sent: float = 0.0
    acknowledged: float = 0.0
    first_token: float = 0.0
    ended: float = 0.0
    fetched_after: float = 0.0
    """Seconds from producing the record of the run's end until it was read."""
    over: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def seconds(self) -> float:
        """Seconds from sending until the run ended."""
        return self.ended - self.sent


class Load:
    """A producer, and a consumer of all responses."""

    def __init__(self, bootstrap: Kafka, *, deltas: bool = False) -> None:
        self._producer = new_producer(bootstrap_servers=bootstrap, enable_idempotence=True)
        topics = [Topic.CHAT_RESPONSES.value] + [Topic.CHAT_DELTAS.value] * deltas
        self._consumer = new_consumer(
            *topics,
            bootstrap_servers=bootstrap,
            auto_offset_reset="latest",
            enable_auto_commit=False,
            isolation_level="read_uncommitted",
        )
        self._asked: dict[str, Asked] = {}
        self._ends: Counter[str] = Counter()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Load:
        await self._producer.start()
        await self._consumer.start()
        for tp in self._consumer.assignment():
            await self._consumer.position(tp)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._reading:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self._consumer.stop()
        await self._producer.stop()

    async def _read(self) -> None:
        async for record in self._consumer:
            kind = dict(record.headers)["ce_type"]
            if kind not in _TERMINAL and kind != _DELTA:
                continue
            run = json.loads(record.value)["run_id"]
            asked = self._asked.get(run)
            if kind == _DELTA:
                if asked and not asked.first_token:
                    asked.first_token = time.perf_counter()
                continue
            self._ends[run] += 1
            if asked and not asked.over.done():
                asked.ended = time.perf_counter()
                asked.fetched_after = max(0.0, time.time() - record.timestamp / 1000)
                asked.over.set_result(None)

    async def send(self, tenant: str, thread: str, text: str = "hi", *, padding: int = 0) -> Asked:
        """Sends a message; its `over` is done when its run has ended. `padding`: bytes that its metadata has."""
        run = new_id("m")
        asked = self._asked[run] = Asked()
        envelope = Envelope(run, UserMessage.TYPE, "cauce/bench", tenant, datetime.now(UTC))
        asked.sent = time.perf_counter()
        await self._producer.send_and_wait(
            Topic.CHAT_MESSAGES.value,
            UserMessage(user_id="u", text=text, metadata={"padding": "x" * padding} if padding else {}).to_bytes(),
            key=f"{tenant}:{thread}".encode(),
            headers=list(envelope.headers()),
        )
        asked.acknowledged = time.perf_counter()
        return asked

    async def garbage(self, key: str) -> None:
        """Sends an unreadable record."""
        await self._producer.send_and_wait(Topic.CHAT_MESSAGES.value, b"{", key=key.encode())

    async def ask(self, tenant: str, thread: str, text: str = "hi") -> Asked:
        """Sends a message and waits for the end of its run. Raises TimeoutError after two minutes."""
        asked = await self.send(tenant, thread, text)
        await asyncio.wait_for(asked.over, PATIENCE)
        return asked

    async def closed_loop(
        self,
        clients: int,
        turns: int,
        *,
        tenants: Sequence[str] = TENANTS,
        thread: Callable[[], str] = lambda: new_id("t"),
        asks: int = 6,
    ) -> list[Asked]:
        """Runs `turns` turns with `clients` clients, `asks` per thread; returns those that were answered."""
        left, answered = turns, list[Asked]()

        async def client(number: int) -> None:
            nonlocal left
            current, asked = thread(), 0
            while left > 0:
                left -= 1
                asked += 1
                if asked % asks == 0:
                    current = thread()
                with contextlib.suppress(TimeoutError):
                    answered.append(await self.ask(tenants[number % len(tenants)], current))

        self._ends.clear()
        await asyncio.gather(*(client(n) for n in range(clients)))
        return answered

    async def measure(self, name: str, clients: int, turns: int, pids: Mapping[str, Sequence[int]]) -> Figures:
        """Measures a closed loop as one row; `pids` are the processes whose CPU time is counted, by name."""
        answered, seconds, used = await measured(self.closed_loop(clients, turns), pids)
        await asyncio.sleep(1)  # a duplicate would have arrived by now
        latencies = [a.seconds for a in answered]
        repeated = sum(n - 1 for n in self._ends.values())
        self._asked.clear()
        return figures(name, clients, seconds, latencies, used, unanswered=turns - len(latencies), repeated=repeated)


WARM_UP, LONGEST_WARM_UP = 500, 10_000
"""Warm-up turns: per round, and in total at most."""
QUIET = 0.05
"""Share of a core below which the servers' JIT compilers count as finished."""


async def warm_up(load: Load, servers: Sequence[int]) -> None:
    """Runs turns until the servers' JVMs have compiled their hot code; before that, a request costs twice the CPU."""
    for done in range(WARM_UP, LONGEST_WARM_UP + 1, WARM_UP):
        before, started = sum(map(compiler_seconds, servers)), time.perf_counter()
        await load.closed_loop(32, WARM_UP)
        share = (sum(map(compiler_seconds, servers)) - before) / (time.perf_counter() - started)
        print(f"  warming up: {done} turns, compilers at {share:.0%} of a core", flush=True)
        if share < QUIET:
            return
