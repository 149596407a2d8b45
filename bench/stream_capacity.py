"""How many streams one gateway on one core can serve: many idle ones, and some with active agents. On the embedded broker."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from bench.figures import cpu_seconds, quantile
from bench.http_client import Connection
from bench.systems import TENANTS, Gateway, System, embedded
from cauce.services.gateway_service import allow_open_files
from schemas import Delta, Envelope, Topic, new_id
from streams.kafka_servers import Kafka, new_producer

IDLE, IDLE_SECONDS = 2000, 60.0
WRITTEN, TOKENS_PER_SECOND, WRITTEN_SECONDS = 200, 20, 20.0
USERS = 10
"""Users per tenant; a user may have 100 streams."""
CONCURRENT = 32
"""Concurrent requests during preparation."""
TICK = 0.005
"""Seconds between two batches of due tokens."""


@dataclass(frozen=True)
class Held:
    """One measurement of a gateway. Times in seconds, `rss` in MB, `cpu` as a share of a core."""

    name: str
    streams: int
    broken: int
    """Streams that ended unexpectedly."""
    heartbeats: int
    silence: float
    """The longest time between two frames of any stream, including its beginning and end."""
    sent: int
    delivered: int
    p50: float
    p99: float
    rss: float
    cpu: float


@dataclass
class Reader:
    """One stream of a thread, and what it received; times of `time.perf_counter`."""

    tenant: str
    thread: str
    connection: Connection
    heartbeats: int = 0
    last: float = 0.0
    silence: float = 0.0
    delays: list[float] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    """The tokens that were written into the thread."""

    async def follow(self) -> None:
        """Requests the thread's future events."""
        path = f"/v1/threads/{self.thread}/events?since=1"
        status = await self.connection.send("GET", path, on_frame=self.hear)
        if status != 200:
            raise ConnectionError(f"the gateway answered {status}")
        self.last = time.perf_counter()

    def hear(self, frame: bytes) -> None:
        """Handles a frame. Every token of a text begins with the time at which it was sent."""
        now = time.perf_counter()
        self.pause(now)
        if frame == b": heartbeat":
            self.heartbeats += 1
        elif frame.startswith(b"event: message.delta"):
            data = next(line for line in frame.split(b"\n") if line.startswith(b"data: "))
            for token in json.loads(data[6:])["text"].split():
                self.tokens.append(token)
                self.delays.append(now - float(token))

    def pause(self, now: float) -> None:
        """Records the silence since the last frame."""
        if self.last:
            self.silence, self.last = max(self.silence, now - self.last), now


@asynccontextmanager
async def readers(url: str, keys: Sequence[tuple[str, str]], count: int) -> AsyncIterator[list[Reader]]:
    """Creates threads, distributed over the tenants and keys, and their readers. A worker must be running."""
    made: list[Reader] = []

    async def prepare(number: int) -> None:
        tenant, key = keys[number % len(keys)]
        reader = Reader(tenant, new_id("t"), await Connection.open(url, key))
        made.append(reader)
        status = await reader.connection.send("POST", "/v1/threads", {"thread_id": reader.thread})
        body = await reader.connection.over()
        if status != 201:
            raise ConnectionError(f"the gateway answered {status}: {body!r}")

    try:
        await _in_turn(prepare(n) for n in range(count))
        yield made
    finally:
        for reader in made:
            reader.connection.close()


async def follow(held: Sequence[Reader]) -> None:
    """Opens the streams."""
    await _in_turn(reader.follow() for reader in held)


async def _in_turn(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    free = asyncio.Semaphore(CONCURRENT)

    async def one(coroutine: Coroutine[Any, Any, None]) -> None:
        async with free:
            await coroutine

    await asyncio.gather(*(one(coroutine) for coroutine in work))


@asynccontextmanager
async def streams(system: System, gateway: Gateway, count: int) -> AsyncIterator[list[Reader]]:
    """Opens streams, and stops the workers afterwards."""
    users = {tenant: [f"u{n}" for n in range(USERS)] for tenant in TENANTS}
    owners = [tenant for tenant, names in users.items() for _ in names]
    keys = list(zip(owners, await system.keys(users), strict=True))
    async with AsyncExitStack() as stack:
        async with system.workers():
            held = await stack.enter_async_context(readers(gateway.url, keys, count))
        await follow(held)
        yield held


async def hold(system: System, gateway: Gateway, count: int, seconds: float) -> Held:
    """Measures idle streams."""
    async with streams(system, gateway, count) as held:
        used, started = cpu_seconds(gateway.pid), time.perf_counter()
        await asyncio.sleep(seconds)
        now = time.perf_counter()
        return _sum_up("quiet", held, gateway, (cpu_seconds(gateway.pid) - used) / (now - started))


async def write(system: System, gateway: Gateway, count: int, rate: int, seconds: float) -> Held:
    """Measures streams of threads in which an agent writes `rate` tokens per second, each in its own record."""
    async with streams(system, gateway, count) as held:
        used, started = cpu_seconds(gateway.pid), time.perf_counter()
        await produce(system.bootstrap, held, rate, seconds)
        share = (cpu_seconds(gateway.pid) - used) / (time.perf_counter() - started)
        latest = time.perf_counter() + 2  # late tokens count as delivered; their delays are reported
        while any(r.tokens != r.sent for r in held) and time.perf_counter() < latest:
            await asyncio.sleep(0.05)
        return _sum_up(f"{rate} tokens/s each", held, gateway, share)


async def produce(bootstrap: Kafka, held: Sequence[Reader], rate: int, seconds: float) -> None:
    """Writes an answer into each thread, one token per record, at fixed times that are spread over a period."""
    producer = new_producer(bootstrap_servers=bootstrap, acks=1, linger_ms=5)
    await producer.start()
    runs = [new_id("m") for _ in held]
    sent, total, started = 0, int(len(held) * rate * seconds), time.perf_counter()
    try:
        while sent < total:
            due = min(total, int((time.perf_counter() - started) * rate * len(held)))
            for number in range(sent, due):
                index, who = divmod(number, len(held))
                await _send(producer, held[who], runs[who], index)
            sent = due
            await asyncio.sleep(TICK)
        await producer.flush()
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, reader: Reader, run: str, index: int) -> None:
    token = f"{time.perf_counter():.6f}"
    reader.sent.append(token)
    delta = Delta(run_id=run, message_id=f"{run}.1", turn=1, attempt=1, index=index, text=f"{token} ")
    envelope = Envelope(f"{run}.{index}", Delta.TYPE, "cauce/bench", reader.tenant, datetime.now(UTC))
    await producer.send(
        Topic.CHAT_DELTAS.value,
        delta.to_bytes(),
        key=f"{reader.tenant}:{reader.thread}".encode(),
        headers=list(envelope.headers()),
    )


def _sum_up(name: str, held: Sequence[Reader], gateway: Gateway, share: float) -> Held:
    now = time.perf_counter()
    for reader in held:
        reader.pause(now)
    delays = sorted(delay for reader in held for delay in reader.delays)
    return Held(
        name=name,
        streams=len(held),
        broken=sum(not reader.connection.is_open for reader in held),
        heartbeats=sum(reader.heartbeats for reader in held),
        silence=max(reader.silence for reader in held),
        sent=sum(len(reader.sent) for reader in held),
        delivered=sum(len(set(reader.tokens)) for reader in held),
        p50=quantile(delays, 0.5),
        p99=quantile(delays, 0.99),
        rss=rss(gateway.pid),
        cpu=share,
    )


def rss(pid: int) -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def run(folder: Path) -> list[Held]:
    """Both measurements, each with its own gateway on the machine's last core."""
    allow_open_files()
    made = []
    core = max(os.sched_getaffinity(0))
    for name in ("idle", "written"):
        place = folder / name
        place.mkdir(parents=True)
        print(f"streams, {name} ...", flush=True)
        async with embedded(place) as system, system.gateway(core) as gateway:
            if name == "idle":
                made.append(await hold(system, gateway, IDLE, IDLE_SECONDS))
            else:
                made.append(await write(system, gateway, WRITTEN, TOKENS_PER_SECOND, WRITTEN_SECONDS))
        print(f"  {made[-1]}", flush=True)
    return made


def table(rows: Sequence[Held]) -> str:
    """The rows as Markdown."""
    lines = [
        "| streams | | broken | longest silence s | tokens sent | delivered | delay p50 ms | p99 ms | RSS MB | CPU |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        tokens = (
            f"{row.sent:,} | {row.delivered:,} | {row.p50 * 1000:.0f} | {row.p99 * 1000:.0f}" if row.sent else "| | |"
        )
        lines.append(
            f"| {row.streams:,} | {row.name} | {row.broken} | {row.silence:.2f} | {tokens} | {row.rss:.0f} | {row.cpu:.0%} |"
        )
    return "\n".join(lines)
