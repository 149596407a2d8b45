from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import RoundRobinPolicy

import state
from deploy.cluster import CassandraServer
from schemas import Tenant, Unavailable
from state import Stores, open_stores

ALL = sorted(file.stem for file in (Path(state.__file__).parent / "cassandra" / "migrations").glob("*.cql"))


@pytest.fixture
def keyspace() -> str:
    return f"migrations_{secrets.token_hex(4)}"


@pytest.fixture
def url(cassandra: CassandraServer, keyspace: str) -> str:
    return f"cassandra://{cassandra.contact_point}:{cassandra.port}/{keyspace}?rf=1"


@pytest.fixture
async def clients(url: str) -> AsyncIterator[list[Stores]]:
    clients = [open_stores(url) for _ in range(4)]
    await asyncio.gather(*(client.open() for client in clients))
    yield clients
    await asyncio.gather(*(client.close() for client in clients))


@pytest.fixture
def operator(cassandra: CassandraServer) -> Iterator[Session]:
    """Somebody at a CQL shell."""
    profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=120)
    cluster = Cluster(
        [cassandra.contact_point],
        port=cassandra.port,
        protocol_version=5,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
    )
    yield cluster.connect()
    cluster.shutdown()


async def test_migrations_are_applied_once_by_one_of_several_clients(clients: list[Stores]) -> None:
    assert await clients[0].pending_migrations() == ALL
    applied = await asyncio.gather(*(client.migrate() for client in clients))
    assert sorted(applied) == [[], [], [], ALL]
    for client in clients:
        assert await client.pending_migrations() == []
        assert await client.migrate() == []
    tenant = Tenant(tenant_id="acme", created_at=datetime(2026, 1, 31, tzinfo=UTC))
    assert await clients[1].directory.put_tenant(tenant, expected_version=0)
    assert await clients[2].directory.tenants() == [tenant]


async def test_store_without_tables_says_how_to_make_them_and_works_once_they_are_made(clients: list[Stores]) -> None:
    with pytest.raises(Unavailable, match="cauce state migrate"):
        await clients[0].directory.tenant("acme")
    await clients[0].ping()
    await clients[1].migrate()
    assert await clients[0].directory.tenant("acme") is None


async def test_migration_that_stopped_half_way_is_applied_again(
    clients: list[Stores], operator: Session, keyspace: str
) -> None:
    await clients[0].migrate()
    await asyncio.to_thread(operator.execute, f"DROP TABLE {keyspace}.audit")
    await asyncio.to_thread(operator.execute, f"TRUNCATE {keyspace}.migrations")
    assert await clients[1].pending_migrations() == ALL
    assert await clients[1].migrate() == ALL
    assert await clients[2].audit.tail("acme") == []


async def test_client_waits_for_the_lock_of_another_and_finds_its_work_done(
    clients: list[Stores], operator: Session, keyspace: str
) -> None:
    await clients[0].migrate()
    lock, marks = f"{keyspace}.migration_lock", f"{keyspace}.migrations"
    await asyncio.to_thread(
        operator.execute, f"INSERT INTO {lock} (name, owner) VALUES ('migrations', 'x') IF NOT EXISTS"
    )
    await asyncio.to_thread(operator.execute, f"DELETE FROM {marks} WHERE name = '0001_stores'")
    waiting = asyncio.create_task(clients[1].migrate())
    done, _ = await asyncio.wait([waiting], timeout=0.7)
    assert not done
    await asyncio.to_thread(operator.execute, f"INSERT INTO {marks} (name) VALUES ('0001_stores')")
    await asyncio.to_thread(operator.execute, f"DELETE FROM {lock} WHERE name = 'migrations' IF EXISTS")
    assert await asyncio.wait_for(waiting, 120) == []


async def test_keyspace_has_the_replication_of_the_url(clients: list[Stores], operator: Session, keyspace: str) -> None:
    await clients[0].migrate()
    query = f"SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace}'"
    rows = await asyncio.to_thread(lambda: list(operator.execute(query)))
    assert dict(rows[0].replication)["class"].endswith("NetworkTopologyStrategy")
    assert "1" in dict(rows[0].replication).values()
