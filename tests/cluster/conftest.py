"""Real servers with tenants on them, for tests whose workers are processes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from worker_processes import OnServers

from connectors.emulators import EmulatorProcess
from deploy.cluster import CassandraServer, KafkaServer


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory, cassandra: CassandraServer) -> Iterator[OnServers]:
    """A Kafka of their own, tenants, and the emulated tools."""
    folder = tmp_path_factory.mktemp("pipeline")
    emulators = EmulatorProcess(folder / "emulators")
    with KafkaServer(folder / "kafka") as kafka, asyncio.Runner() as runner:
        runner.run(emulators.start())
        try:
            on = OnServers(
                folder,
                CAUCE_KAFKA=kafka.bootstrap,
                CAUCE_CASSANDRA=f"{cassandra.contact_point}:{cassandra.port}",
                CAUCE_MODEL="rules",
                CAUCE_ARCADE_URL=emulators.base_url,
                ARCADE_API_KEY=emulators.api_key,
            )
            on.told("topics", "apply")
            on.told("state", "migrate")
            on.told("tenant", "add", "home")
            on.told("tenant", "add", "slow")
            on.told("tenant", "set", "slow", "--model", "scripted:delay=1.5")
            on.told("tenant", "add", "eager")
            on.told("tenant", "set", "eager", "--approvals", "never")
            yield on
        finally:
            runner.run(emulators.stop())
