"""The pipeline under load: closed-loop clients on Kafka, worker processes, a store, a tool over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.figures import Figures, compiler_seconds, cpu_seconds, figures
from bench.in_process import MODEL_SECONDS
from schemas import (
    TERMINAL_TYPES,
    AgentSettings,
    ApprovalPolicy,
    Envelope,
    ModelSettings,
    PartitionSet,
    Tenant,
    Topic,
    UserMessage,
    new_id,
)
from state import open_stores
from streams import topics

TENANTS = ("bench0", "bench1", "bench2", "bench3")
PARTITIONS = {PartitionSet.CONVERSATION: 8, PartitionSet.TENANT: 4}
WARM_UP, LONGEST_WARM_UP = 500, 4000
"""Turns that are run before anything is measured: at a time, and at most."""
_TERMINAL = {t.encode() for t in TERMINAL_TYPES}


@asynccontextmanager
async def process(*arguments: str, environment: Mapping[str, str], log: Path) -> AsyncIterator[tuple[int, str]]:
    """A child process; gives its id and the first line that it prints."""
    with log.open("ab") as errors:
        child = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
        try:
            assert child.stdout
            line = await asyncio.wait_for(child.stdout.readline(), 60)
            if not line:
                raise RuntimeError(f"{' '.join(arguments)} ended at once, see {log}")
            yield child.pid, line.decode().strip()
        finally:
            if child.returncode is None:
                child.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(child.wait(), 30)
                except TimeoutError:
                    child.kill()


async def prepare(bootstrap: str, state_url: str) -> None:
    """Topics, tables, and tenants whose agents use the scripted model and need no approvals."""
    await topics.apply(bootstrap, partitions=PARTITIONS)
    stores = open_stores(state_url)
    await stores.open()
    await stores.migrate()
    agent = AgentSettings(
        model=ModelSettings(name=f"scripted:delay={MODEL_SECONDS},tool=Bench_Echo"),
        approvals=ApprovalPolicy(require="never"),
    )
    for tenant_id in TENANTS:
        if await stores.directory.tenant(tenant_id) is None:
            tenant = Tenant(tenant_id=tenant_id, created_at=datetime.now(UTC), agents=(agent,))
            await stores.directory.put_tenant(tenant, expected_version=0)
    await stores.close()


class Load:
    """Closed-loop clients: each sends a message, waits for its run to end, and sends the next."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
        self._consumer = AIOKafkaConsumer(
            Topic.CHAT_RESPONSES.value,
            bootstrap_servers=bootstrap,
            auto_offset_reset="latest",
            enable_auto_commit=False,
            isolation_level="read_uncommitted",
        )
        self._waiting: dict[str, asyncio.Future[None]] = {}
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
            if dict(record.headers)["ce_type"] in _TERMINAL:
                run = json.loads(record.value)["run_id"]
                self._ends[run] += 1
                waiting = self._waiting.get(run)
                if waiting and not waiting.done():
                    waiting.set_result(None)

    async def ask(self, tenant: str, thread: str) -> float:
        """Sends a message and returns the seconds until its run ended."""
        run = new_id("m")
        self._waiting[run] = asyncio.get_running_loop().create_future()
        envelope = Envelope(run, UserMessage.TYPE, "cauce/bench", tenant, datetime.now(UTC))
        started = time.perf_counter()
        await self._producer.send(
            Topic.CHAT_MESSAGES.value,
            UserMessage(user_id="u", text="hi").to_bytes(),
            key=f"{tenant}:{thread}".encode(),
            headers=list(envelope.headers()),
        )
        await asyncio.wait_for(self._waiting[run], 120)
        return time.perf_counter() - started

    async def measure(self, name: str, clients: int, turns: int, pids: Mapping[str, Sequence[int]]) -> Figures:
        """Runs so many turns with so many clients; `pids` are the processes whose CPU time counts, by name."""
        left, latencies = turns, list[float]()

        async def client(number: int) -> None:
            nonlocal left
            thread, asked = new_id("t"), 0
            while left > 0:
                left -= 1
                asked += 1
                if asked % 6 == 0:
                    thread = new_id("t")
                with contextlib.suppress(TimeoutError):
                    latencies.append(await self.ask(TENANTS[number % len(TENANTS)], thread))

        before = {k: sum(map(cpu_seconds, ids)) for k, ids in pids.items()}
        self._ends.clear()
        started = time.perf_counter()
        await asyncio.gather(*(client(n) for n in range(clients)))
        seconds = time.perf_counter() - started
        used = {k: (sum(map(cpu_seconds, ids)) - before[k]) * 1000 for k, ids in pids.items()}
        await asyncio.sleep(1)  # what comes twice would come by now
        repeated = sum(n - 1 for n in self._ends.values())
        return figures(name, clients, seconds, latencies, used, unanswered=turns - len(latencies), repeated=repeated)


async def warm_up(load: Load, servers: Sequence[int]) -> None:
    """Runs turns until the servers' JVMs have compiled what they run: before, a request costs them twice the CPU."""
    for done in range(WARM_UP, LONGEST_WARM_UP + 1, WARM_UP):
        before, started = sum(map(compiler_seconds, servers)), time.perf_counter()
        await load.measure("warm-up", 32, WARM_UP, {})
        share = (sum(map(compiler_seconds, servers)) - before) / (time.perf_counter() - started)
        print(f"  warming up: {done} turns, compilers at {share:.0%} of a core", flush=True)
        if share < 0.15:
            return


async def run(
    name: str,
    *,
    bootstrap: str,
    state: Mapping[str, str],
    state_url: str,
    folder: Path,
    servers: Mapping[str, int],
    cases: Sequence[tuple[int, int]],
    together: bool,
) -> list[Figures]:
    """Measures cases of (clients, turns). `state` is the environment that names the store, `together` puts all groups into
    one worker process, as the embedded system does."""
    await prepare(bootstrap, state_url)
    log = folder / "workers.log"
    environment = {**state, "CAUCE_KAFKA": bootstrap, "CAUCE_LOG_LEVEL": "warning"}
    groups = [("turns", "tools", "audit")] if together else [("turns",), ("tools",), ("audit",)]
    async with contextlib.AsyncExitStack() as stack:
        arcade, url = await stack.enter_async_context(process("-m", "bench.echo_arcade", environment={}, log=log))
        environment |= {"CAUCE_ARCADE_URL": url, "ARCADE_API_KEY": "bench"}
        workers = await asyncio.gather(
            *(
                stack.enter_async_context(process("-m", "bench.worker", *group, environment=environment, log=log))
                for group in groups
            )
        )
        pids = {"worker" if together else g[0]: [pid] for g, (pid, _) in zip(groups, workers, strict=True)}
        pids |= {server: [pid] for server, pid in servers.items()}
        pids |= {"tool service": [arcade], "load": [os.getpid()]}
        async with Load(bootstrap) as load:
            await warm_up(load, list(servers.values()))
            return [await load.measure(name, clients, turns, pids) for clients, turns in cases]
