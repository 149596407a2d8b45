"""The measured systems: servers, tool service and worker processes, embedded or on Kafka and Cassandra."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.in_process import MODEL_SECONDS
from core.api_keys import ApiKeys
from core.audit_writer import AuditWriter
from core.principal import OPERATOR
from schemas import AgentSettings, ApprovalPolicy, ModelSettings, PartitionSet, Tenant
from state import open_stores
from streams import topic_admin
from streams.kafka_servers import Kafka

TENANTS = ("bench0", "bench1", "bench2", "bench3")
PARTITIONS = {PartitionSet.CONVERSATION: 8, PartitionSet.TENANT: 4}
GROUPS = ("turns", "tools", "audit")


@asynccontextmanager
async def process(*arguments: str, environment: Mapping[str, str], log: Path) -> AsyncIterator[tuple[int, str]]:
    """Starts a child process; returns its id and the first line that it prints."""
    with log.open("ab") as errors:
        child = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
        try:
            assert child.stdout
            line = await asyncio.wait_for(child.stdout.readline(), 60)
            if not line:
                raise RuntimeError(f"{' '.join(arguments)} exited immediately, see {log}")
            yield child.pid, line.decode().strip()
        finally:
            if child.returncode is None:
                child.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(child.wait(), 30)
                except TimeoutError:
                    child.kill()


async def prepare(bootstrap: Kafka, state_url: str, tenants: Mapping[str, str] = {}) -> None:
    """Creates topics, tables, and tenants whose agents need no approvals; `tenants` are additional ones with their models."""
    await topic_admin.apply(bootstrap, partitions=PARTITIONS)
    stores = open_stores(state_url)
    await stores.open()
    await stores.migrate()
    usual = dict.fromkeys(TENANTS, f"scripted:delay={MODEL_SECONDS},tool=Bench_Echo")
    for tenant_id, model in {**usual, **tenants}.items():
        if await stores.directory.tenant(tenant_id) is None:
            agent = AgentSettings(model=ModelSettings(name=model), approvals=ApprovalPolicy(require="never"))
            tenant = Tenant(tenant_id=tenant_id, created_at=datetime.now(UTC), agents=(agent,))
            await stores.directory.put_tenant(tenant, expected_version=0)
    await stores.close()


@dataclass(frozen=True)
class Workers:
    """Worker processes: pids and addresses of health pages, by the names of their groups."""

    pids: dict[str, list[int]] = field(default_factory=dict)
    health: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Gateway:
    """A gateway process."""

    pid: int
    url: str


@dataclass(frozen=True)
class System:
    """Running servers. `together`: one worker process runs all groups, as in the embedded system."""

    name: str
    bootstrap: str
    state: Mapping[str, str]
    state_url: str
    folder: Path
    servers: Mapping[str, int]
    together: bool

    @asynccontextmanager
    async def workers(self, count: int = 1, **settings: object) -> AsyncIterator[Workers]:
        """Runs `count` workers of each group with these settings, and the tool service."""
        log = self.folder / "workers.log"
        environment = {**self.state, "CAUCE_KAFKA": self.bootstrap, "CAUCE_LOG_LEVEL": "error"}
        environment |= {f"CAUCE_{name.upper()}": str(value) for name, value in settings.items()}
        kinds: Sequence[tuple[str, Sequence[str]]] = [(g, [g]) for g in GROUPS]
        if self.together:
            kinds = [("worker", GROUPS)]
        async with AsyncExitStack() as stack:
            arcade, url = await stack.enter_async_context(process("-m", "bench.echo_arcade", environment={}, log=log))
            environment |= {"CAUCE_ARCADE_URL": url, "ARCADE_API_KEY": "bench"}
            started = await asyncio.gather(
                *(
                    stack.enter_async_context(process("-m", "bench.worker", *groups, environment=environment, log=log))
                    for _, groups in kinds
                    for _ in range(count)
                )
            )
            workers = Workers()
            for n, (pid, line) in enumerate(started):
                name = kinds[n // count][0]
                workers.pids.setdefault(name, []).append(pid)
                workers.health.setdefault(name, []).append(line.removeprefix("ready ").strip())
            workers.pids.update({server: [pid] for server, pid in self.servers.items()})
            workers.pids.update({"tool service": [arcade], "load": [os.getpid()]})
            yield workers

    @asynccontextmanager
    async def gateway(self, core: int | None = None) -> AsyncIterator[Gateway]:
        """Runs a `cauce gateway` that counts requests but rejects none; `core` is the only CPU core it may use."""
        environment = {**self.state, "CAUCE_KAFKA": self.bootstrap, "CAUCE_LOG_LEVEL": "error"}
        environment |= dict.fromkeys(("CAUCE_RATE_USER", "CAUCE_RATE_TENANT", "CAUCE_RATE_RUNS"), "1000000/second")
        command = ("-m", "cauce", "gateway", "--port", "0")
        async with process(*command, environment=environment, log=self.folder / "gateway.log") as (pid, line):
            if core is not None:
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(thread), {core})
            yield Gateway(pid, line.split()[-1])

    async def keys(self, users: Mapping[str, Sequence[str]]) -> list[str]:
        """Creates an API key for each user of each tenant."""
        stores = open_stores(self.state_url)
        await stores.open()
        try:
            made = ApiKeys(stores.credentials, stores.directory, AuditWriter(stores.timers))
            return [
                (await made.create(OPERATOR, tenant, user)).text for tenant, names in users.items() for user in names
            ]
        finally:
            await stores.close()


@asynccontextmanager
async def embedded(folder: Path, tenants: Mapping[str, str] = {}) -> AsyncIterator[System]:
    """The embedded broker and SQLite."""
    from streams.embedded import EmbeddedBroker

    async with EmbeddedBroker(folder / "kafka") as broker:
        url = f"sqlite://{folder / 'state'}"
        await prepare(broker.bootstrap, url, tenants)
        yield System(
            "embedded",
            broker.bootstrap,
            {"CAUCE_DATA": str(folder)},
            url,
            folder,
            {"broker": broker.pid},
            together=True,
        )


@asynccontextmanager
async def cluster(folder: Path, tenants: Mapping[str, str] = {}) -> AsyncIterator[System]:
    """Apache Kafka and Apache Cassandra, one node each."""
    from deploy.cluster import CassandraServer, KafkaServer

    kafka = KafkaServer(folder / "kafka", short_lived=False)
    # Cassandra's default commit log mode, as used on nodes with replicas.
    cassandra = CassandraServer(folder / "cassandra", survives_kill=False, short_lived=False)
    try:
        await asyncio.gather(asyncio.to_thread(kafka.start), asyncio.to_thread(cassandra.start))
        url = f"cassandra://{cassandra.address}/cauce?rf=1"
        await prepare(kafka.bootstrap, url, tenants)
        state = {"CAUCE_CASSANDRA": cassandra.address}
        servers = {"Kafka": kafka.pid, "Cassandra": cassandra.pid}
        yield System("Kafka + Cassandra", kafka.bootstrap, state, url, folder, servers, together=False)
    finally:
        await asyncio.gather(asyncio.to_thread(kafka.stop), asyncio.to_thread(cassandra.stop))
