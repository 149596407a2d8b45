"""How far event sources have read: see `state.PositionStore`."""

from __future__ import annotations

from state.cassandra.keyspace import Keyspace
from state.cassandra.partitions import of_tenant
from state.cassandra.queries import Kind, Query
from state.stores.positions import PositionStore, decode_position

_PUT = Query(Kind.WRITE, "INSERT INTO KEYSPACE.positions (tenant_id, user_id, source, body) VALUES (?, ?, ?, ?)")
_GET = Query(Kind.READ, "SELECT body FROM KEYSPACE.positions WHERE tenant_id = ? AND user_id = ? AND source = ?")
_KEYS = Query(Kind.READ, "SELECT DISTINCT tenant_id, user_id FROM KEYSPACE.positions")
_ERASE = Query(Kind.WRITE, "DELETE FROM KEYSPACE.positions WHERE tenant_id = ? AND user_id = ?")


class CassandraPositions(PositionStore):
    """A user's positions are one partition."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session, self._codec = keyspace.session, keyspace.codec

    async def get(self, tenant_id: str, user_id: str, source: str) -> str | None:
        """See `state.PositionStore.get`."""
        key = (tenant_id, user_id, source)
        rows = await self._session.execute(_GET, *key)
        return decode_position(self._codec, rows[0][0], *key) if rows else None

    async def put(self, tenant_id: str, user_id: str, source: str, position: str) -> None:
        """See `state.PositionStore.put`."""
        body = self._codec.encode(tenant_id, position.encode())
        await self._session.execute(_PUT, tenant_id, user_id, source, body)

    async def users(self, tenant_id: str) -> list[str]:
        """See `state.PositionStore.users`."""
        return await of_tenant(self._session, _KEYS, tenant_id)

    async def erase(self, tenant_id: str, user_id: str) -> None:
        """See `state.PositionStore.erase`."""
        await self._session.execute(_ERASE, tenant_id, user_id)
