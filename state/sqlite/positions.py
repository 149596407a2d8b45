"""How far event sources have read: see `state.PositionStore`."""

from __future__ import annotations

from state.sqlite.database import Database
from state.stores.positions import PositionStore, decode_position

_PUT = "INSERT OR REPLACE INTO positions (tenant_id, user_id, source, body) VALUES (?, ?, ?, ?)"
_GET = "SELECT body FROM positions WHERE tenant_id = ? AND user_id = ? AND source = ?"
_USERS = "SELECT DISTINCT user_id FROM positions WHERE tenant_id = ? ORDER BY user_id"
_ERASE = "DELETE FROM positions WHERE tenant_id = ? AND user_id = ?"


class SqlitePositions(PositionStore):
    """One row a position."""

    def __init__(self, database: Database) -> None:
        self._writer, self._readers = database.writer, database.readers
        self._codec = database.codec

    async def get(self, tenant_id: str, user_id: str, source: str) -> str | None:
        """See `state.PositionStore.get`."""
        key = (tenant_id, user_id, source)
        row = await self._readers.run(lambda c: c.execute(_GET, key).fetchone())
        return None if row is None else decode_position(self._codec, row[0], *key)

    async def put(self, tenant_id: str, user_id: str, source: str, position: str) -> None:
        """See `state.PositionStore.put`."""
        row = (tenant_id, user_id, source, self._codec.encode(tenant_id, position.encode()))
        await self._writer.run(lambda c: c.execute(_PUT, row))

    async def users(self, tenant_id: str) -> list[str]:
        """See `state.PositionStore.users`."""
        return [user for (user,) in await self._readers.run(lambda c: c.execute(_USERS, (tenant_id,)).fetchall())]

    async def erase(self, tenant_id: str, user_id: str) -> None:
        """See `state.PositionStore.erase`."""
        await self._writer.run(lambda c: c.execute(_ERASE, (tenant_id, user_id)), erases=True)
