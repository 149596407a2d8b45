"""What is due at a time: see `state.TimerStore`."""

from __future__ import annotations

from datetime import datetime

from state.micros import to_micros
from state.sqlite.database import Database
from state.stores.timers import Timer, TimerStore, decode_timers

_PUT = "INSERT OR REPLACE INTO timers (due, tenant_id, timer_id, user_id, kind, body) VALUES (?, ?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM timers WHERE due = ? AND tenant_id = ? AND timer_id = ?"
_COLUMNS = "tenant_id, user_id, timer_id, kind, due, body"
_DUE = f"SELECT {_COLUMNS} FROM timers WHERE due <= ? ORDER BY due, tenant_id, timer_id LIMIT ?"
_OF_USER = f"SELECT {_COLUMNS} FROM timers WHERE tenant_id = ? AND user_id = ? ORDER BY due, timer_id"
_USERS = "SELECT DISTINCT user_id FROM timers WHERE tenant_id = ? ORDER BY user_id"
_ERASE = "DELETE FROM timers WHERE tenant_id = ? AND user_id = ?"
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM timers WHERE tenant_id = ? AND user_id = ? AND kind = ? LIMIT ?)"


class SqliteTimers(TimerStore):
    """One table in the order of time."""

    def __init__(self, database: Database) -> None:
        self._writer, self._readers = database.writer, database.readers
        self._codec = database.codec

    async def put(self, timer: Timer) -> None:
        """See `state.TimerStore.put`."""
        body = self._codec.encode(timer.tenant_id, timer.body)
        row = (to_micros(timer.due), timer.tenant_id, timer.timer_id, timer.user_id, timer.kind, body)
        await self._writer.run(lambda c: c.execute(_PUT, row))

    async def remove(self, timer: Timer) -> None:
        """See `state.TimerStore.remove`."""
        key = (to_micros(timer.due), timer.tenant_id, timer.timer_id)
        await self._writer.run(lambda c: c.execute(_REMOVE, key), erases=True)

    async def due(self, now: datetime, *, limit: int = 20) -> list[Timer]:
        """See `state.TimerStore.due`."""
        wanted = (to_micros(now), max(limit, 0))
        rows = await self._readers.run(lambda c: c.execute(_DUE, wanted).fetchall())
        return list(decode_timers(self._codec, rows))

    async def count(self, tenant_id: str, user_id: str, kind: str, *, most: int) -> int:
        """See `state.TimerStore.count`."""
        wanted = (tenant_id, user_id, kind, max(most, 0))
        (found,) = await self._readers.run(lambda c: c.execute(_COUNT, wanted).fetchone())
        return int(found)

    async def of_user(self, tenant_id: str, user_id: str) -> list[Timer]:
        """See `state.TimerStore.of_user`."""
        rows = await self._readers.run(lambda c: c.execute(_OF_USER, (tenant_id, user_id)).fetchall())
        return list(decode_timers(self._codec, rows))

    async def users(self, tenant_id: str) -> list[str]:
        """See `state.TimerStore.users`."""
        return [user for (user,) in await self._readers.run(lambda c: c.execute(_USERS, (tenant_id,)).fetchall())]

    async def erase(self, tenant_id: str, user_id: str) -> None:
        """See `state.TimerStore.erase`."""
        await self._writer.run(lambda c: c.execute(_ERASE, (tenant_id, user_id)), erases=True)
