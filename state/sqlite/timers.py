"""What is due at a time: see `state.TimerStore`."""

from __future__ import annotations

from datetime import datetime

from state.micros import to_micros
from state.sqlite.database import Database
from state.stores.timers import Timer, TimerStore, decode_timers

_PUT = "INSERT OR REPLACE INTO timers (due, tenant_id, timer_id, user_id, kind, body) VALUES (?, ?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM timers WHERE due = ? AND tenant_id = ? AND timer_id = ?"
_DUE = """
SELECT tenant_id, user_id, timer_id, kind, due, body FROM timers WHERE due <= ? ORDER BY due, tenant_id, timer_id LIMIT ?
"""
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
        await self._writer.run(lambda c: c.execute(_REMOVE, key))

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
