"""The two brokers that must behave alike, and clients for whichever a test is given."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from kafka_access import KafkaAccess
from kafka_wire import Wire

from deploy.cluster.process import HOST, ServerProcess

ROOT = Path(__file__).resolve().parents[3]


class EmbeddedServer(ServerProcess):
    """The embedded broker, started as its own process in the way Apache Kafka is."""

    name = "the embedded broker"

    def _prepare(self) -> list[str]:
        command = [sys.executable, "-m", "streams.embedded", "--data", str(self.data_dir / "data")]
        return ["env", f"PYTHONPATH={ROOT}", *command, "--port", str(self.port)]

    def _answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=2):
            return True


@pytest.fixture(scope="session")
def embedded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One embedded broker for the session. A test that stops it starts it again before it ends."""
    server = EmbeddedServer(tmp_path_factory.mktemp("embedded-kafka"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session", params=["embedded", "apache"])
def kafka(request: pytest.FixtureRequest) -> ServerProcess:
    """The broker under test. What holds for Apache Kafka is right; where the embedded broker differs, it is wrong."""
    server: ServerProcess = request.getfixturevalue(f"{request.param}_kafka")
    return server


@pytest.fixture
def kafka_address(kafka: ServerProcess) -> str:
    """`host:port` of the broker under test, for tests that need several connections."""
    return kafka.address


@pytest.fixture
async def access(kafka: ServerProcess) -> AsyncIterator[KafkaAccess]:
    """Clients of the broker under test, closed when the test ends."""
    async with KafkaAccess(kafka.address) as clients:
        yield clients


@pytest.fixture
async def wire(kafka: ServerProcess) -> AsyncIterator[Wire]:
    """One plain connection to the broker under test."""
    async with await Wire.connect(kafka.address) as connection:
        yield connection
