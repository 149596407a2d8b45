"""Attempts at records: see `state.AttemptStore`."""

from __future__ import annotations

from state.sqlite.database import Database
from state.stores.attempts import AttemptStore

_BEGIN = """
INSERT INTO attempts (consumer_group, topic, partition, record_offset, begun) VALUES (?, ?, ?, ?, 1)
ON CONFLICT DO UPDATE SET begun = begun + 1 RETURNING begun
"""
_BEGUN = "SELECT begun FROM attempts WHERE consumer_group = ? AND topic = ? AND partition = ? AND record_offset = ?"
_FORGET = "DELETE FROM attempts WHERE consumer_group = ? AND topic = ? AND partition = ? AND record_offset = ?"


class SqliteAttempts(AttemptStore):
    """One row a record."""

    def __init__(self, database: Database) -> None:
        self._writer = database.writer

    async def begun(self, group: str, topic: str, partition: int, offset: int) -> int:
        """See `state.AttemptStore.begun`."""
        rows = await self._writer.run(lambda c: c.execute(_BEGUN, (group, topic, partition, offset)).fetchall())
        return int(rows[0][0]) if rows else 0

    async def begin(self, group: str, topic: str, partition: int, offset: int) -> int:
        """See `state.AttemptStore.begin`."""
        ((begun,),) = await self._writer.run(lambda c: c.execute(_BEGIN, (group, topic, partition, offset)).fetchall())
        return int(begun)

    async def forget(self, group: str, topic: str, partition: int, offset: int) -> None:
        """See `state.AttemptStore.forget`."""
        await self._writer.run(lambda c: c.execute(_FORGET, (group, topic, partition, offset)))
