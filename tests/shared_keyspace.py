"""One keyspace for many tests: making its tables takes longer than most of what a test does with them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import RoundRobinPolicy

from deploy.cluster import CassandraServer
from state import open_stores

_KEPT = {"migrations", "migration_lock"}
"""Tables of no store."""


class SharedKeyspace:
    """The keyspace `shared` of a server."""

    def __init__(self, server: CassandraServer) -> None:
        self.url = f"cassandra://{server.contact_point}:{server.port}/shared?rf=1"
        profile = ExecutionProfile(load_balancing_policy=RoundRobinPolicy(), request_timeout=120)
        self._cluster = Cluster(
            [server.contact_point],
            port=server.port,
            protocol_version=5,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        )

    def __enter__(self) -> Self:
        with ThreadPoolExecutor(1) as thread:  # whoever asks first may be in a loop of its own
            thread.submit(asyncio.run, self._migrate()).result()
        self._session = self._cluster.connect("shared")
        names = self._session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'shared'")
        self._tables = sorted({name for (name,) in names} - _KEPT)
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()

    def empty(self) -> None:
        """Truncates the tables that have rows. What conditional statements were about is forgotten with them."""
        looks = [(table, self._session.execute_async(f"SELECT * FROM {table} LIMIT 1")) for table in self._tables]
        for table in [table for table, look in looks if list(look.result())]:
            self._session.execute(f"TRUNCATE {table}")

    async def _migrate(self) -> None:
        stores = open_stores(self.url)
        await stores.open()
        await stores.migrate()
        await stores.close()
