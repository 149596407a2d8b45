"""A worker process of the simulation: the real runtime, handlers, processors and Cassandra stores, on simulated clients.

What is left out of a real worker: FastStream's pipeline, LangGraph, arcadepy, the driver, health and signals.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from unittest.mock import patch

from prometheus_client import CollectorRegistry
from sim_cassandra import SimCassandra, SimSession
from sim_clients import Connection, SimAdmin, SimConsumer, SimProducer, sim_look
from sim_kafka import SimKafka
from sim_loop import EPOCH, Node, VirtualLoop
from sim_network import Network
from sim_services import SimAgent, SimService, SimTools

import streams.group_runtime
import streams.intake
from connectors.models.scripted import ScriptedChatModel
from connectors.toolsets import Toolsets
from processors.audit.processor import AuditProcessor
from processors.groups import GROUPS
from processors.settings_cache import TenantCache, UserCache
from processors.tools.processor import ToolsProcessor
from processors.turns.agent_leg import AgentLeg
from processors.turns.processor import TurnsProcessor
from processors.turns.profile import Profiles
from schemas import Output
from schemas.common.metrics import RuntimeMetrics
from state.cassandra.attempts import CassandraAttempts
from state.cassandra.audit import CassandraAudit
from state.cassandra.directory import CassandraDirectory
from state.cassandra.journal import CassandraJournal
from state.cassandra.keyspace import Keyspace
from state.cassandra.ledger import CassandraLedger
from streams.contract import Processor
from streams.group_runtime import GroupRuntime
from streams.handler import RecordHandler
from streams.kafka_clients import KafkaClients
from streams.runtime_options import RuntimeOptions

OPTIONS = RuntimeOptions(
    max_running=8,
    max_queued=12,
    small_bytes=0,
    grace=4.0,
    session_timeout_ms=3000,
    transaction_timeout_ms=4000,
    suspend_seconds=2.0,
    stall_seconds=3.0,
)
"""Shorter times than in life: the less happens between two faults, the more worlds a second."""
METRICS = RuntimeMetrics(CollectorRegistry())
MODEL = ScriptedChatModel()
"""Is asked who it is, and nothing else: `SimAgent` answers."""


@contextmanager
def small_limits() -> Iterator[None]:
    """Constants of the product as a world needs them, so that a gap that is taken for missing records stops the intake within its
    life. Only for so long: what imports the simulation may test something else afterwards."""
    with patch.object(streams.intake, "POLL_MS", 1000), patch.object(streams.group_runtime, "MAX_SPAN", 32):
        yield


@dataclass
class Outside:
    """What all workers share."""

    loop: VirtualLoop
    network: Network
    kafka: SimKafka
    cassandra: SimCassandra
    service: SimService
    asked: Counter[str]

    def now(self) -> datetime:
        """The clock on the wall."""
        return datetime.fromtimestamp(EPOCH + self.loop.now, UTC)


class SimWorker:
    """One process, from its start to its end."""

    def __init__(self, outside: Outside, name: str, groups: Sequence[str]) -> None:
        self._outside, self.groups = outside, groups
        self.node = Node(name, outside.loop)
        self.runtimes: list[GroupRuntime] = []
        self._consumers: list[SimConsumer] = []
        self.ended = False
        self.node.start(self._run())

    async def _run(self) -> None:
        o = self._outside
        connection = Connection(o.loop, o.network, o.kafka, self.node)
        clients = KafkaClients(
            "simulated",
            OPTIONS,
            producer=partial(SimProducer, connection),
            admin=partial(SimAdmin, connection),
            look=partial(sim_look, connection),
        )
        await clients.start()
        session: Any = SimSession(o.loop, o.network, o.cassandra, self.node)
        keyspace = Keyspace(session, input_ttl=1e6)
        for group in self.groups:
            processor = self._processor(group, keyspace)
            handler = RecordHandler(
                group,
                processor,
                processor.process,
                attempts=CassandraAttempts(keyspace),
                options=OPTIONS,
                metrics=METRICS,
                now=o.now,
            )
            spec = GROUPS[group]
            consumer = SimConsumer(connection, group, spec.topics)
            runtime = GroupRuntime(
                spec,
                processor,
                handler,
                consumer=lambda consumer=consumer: consumer,  # type: ignore[misc]
                clients=clients,
                options=OPTIONS,
                metrics=METRICS,
            )
            consumer.listener = runtime
            self.runtimes.append(runtime)
            self._consumers.append(consumer)
            self.node.start(consumer.stay_member())
            self.node.start(runtime.consume())

    def _processor(self, group: str, keyspace: Keyspace) -> Processor:
        o = self._outside
        clock = o.loop.time
        directory = CassandraDirectory(keyspace)
        tools = Toolsets([SimTools(o.loop, o.network, o.service, self.node)])
        tenants = TenantCache(directory, clock=clock)
        if group == "audit":
            return AuditProcessor(CassandraAudit(keyspace))
        ledger = CassandraLedger(keyspace)
        if group == "tools":
            return ToolsProcessor(ledger, tenants, tools, CassandraJournal(keyspace), now=o.now)
        agent: Any = SimAgent(o.loop, o.asked)
        profiles = Profiles(tools, UserCache(directory, clock=clock), lambda *_: MODEL)
        leg = AgentLeg(agent, profiles, _ignore, now=o.now)
        return TurnsProcessor(CassandraJournal(keyspace), ledger, tenants, {"agent": leg}, now=o.now)

    def stop(self) -> None:
        """SIGTERM."""
        self.node.start(self._stop())

    async def _stop(self) -> None:
        await asyncio.gather(*(runtime.stop(OPTIONS.grace) for runtime in self.runtimes))
        for consumer in self._consumers:
            consumer.stop()
        await asyncio.sleep(1)
        self.ended = True
        self.node.kill()


def _ignore(_: Output) -> None:
    """Nobody reads deltas here."""
