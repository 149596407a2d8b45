"""Real servers for the whole session, and how much hypothesis tries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from shared_keyspace import SharedKeyspace

from deploy.cluster import CassandraServer, KafkaServer
from deploy.cluster.process import ServerProcess

pytest_plugins = ["side_by_side"]

Server = TypeVar("Server", bound=ServerProcess)

# A deadline for one example, or for drawing it, measures how busy the machine is.
settings.register_profile("local", deadline=None)
settings.register_profile(
    "ci", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One Apache Kafka for the session. A test that stops it starts it again before it ends."""
    yield from _until_the_end(KafkaServer(tmp_path_factory.mktemp("apache-kafka")))


@pytest.fixture(scope="session")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraServer]:
    """One Apache Cassandra for the session, which no test kills: what it has written may not be on the disk yet."""
    yield from _until_the_end(CassandraServer(tmp_path_factory.mktemp("cassandra"), heap="2g", survives_kill=False))


@pytest.fixture(scope="session")
def durable_cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraServer]:
    """One Apache Cassandra for the tests that kill it. They start it again before they end."""
    yield from _until_the_end(CassandraServer(tmp_path_factory.mktemp("durable-cassandra")))


@pytest.fixture(scope="session")
def shared_keyspace(cassandra: CassandraServer) -> Iterator[SharedKeyspace]:
    """A keyspace with all tables, for tests that take it one after the other and leave it empty."""
    with SharedKeyspace(cassandra) as keyspace:
        yield keyspace


def _until_the_end(server: Server) -> Iterator[Server]:
    try:
        yield server.start()
    finally:
        server.kill()  # nobody reads its data any more, and an orderly stop of Cassandra takes five seconds
