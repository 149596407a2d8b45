"""Attempts at records: see `state.AttemptStore`."""

from __future__ import annotations

from state.cassandra.keyspace import Keyspace
from state.cassandra.outcome import decided
from state.cassandra.queries import Kind, Query
from state.stores.attempts import AttemptStore

_KEY = "consumer_group = ? AND topic = ? AND partition = ? AND record_offset = ?"
_READ = Query(Kind.SERIAL_READ, f"SELECT begun FROM KEYSPACE.attempts WHERE {_KEY}")
_BEGIN = Query(Kind.CONDITIONAL, f"UPDATE KEYSPACE.attempts SET begun = ? WHERE {_KEY} IF begun = ?")
_FORGET = Query(Kind.CONDITIONAL, f"DELETE FROM KEYSPACE.attempts WHERE {_KEY} IF EXISTS")


class CassandraAttempts(AttemptStore):
    """One row a record; used only where an owner before may have begun it, so that a slow count is good enough."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session = keyspace.session

    async def begun(self, group: str, topic: str, partition: int, offset: int) -> int:
        """See `state.AttemptStore.begun`."""
        return await self._count(group, topic, partition, offset)

    async def begin(self, group: str, topic: str, partition: int, offset: int) -> int:
        """See `state.AttemptStore.begin`."""
        key = (group, topic, partition, offset)
        while True:
            before = await self._count(*key)
            count = before + 1

            async def write(before: int = before, count: int = count) -> bool:
                (row,) = await self._session.execute(_BEGIN, count, *key, before or None)
                return bool(row["[applied]"])

            async def look(before: int = before, count: int = count) -> bool | None:
                now = await self._count(*key)
                return None if now == before else now == count

            if await decided(write, look):
                return count

    async def forget(self, group: str, topic: str, partition: int, offset: int) -> None:
        """See `state.AttemptStore.forget`."""
        key = (group, topic, partition, offset)

        async def write() -> bool:
            await self._session.execute(_FORGET, *key)
            return True

        async def look() -> bool | None:
            return None if await self._count(*key) else True

        await decided(write, look)

    async def _count(self, *key: str | int) -> int:
        rows = await self._session.execute(_READ, *key)
        return int(rows[0][0] or 0) if rows else 0
