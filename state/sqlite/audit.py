"""The audit trail: see `state.AuditStore`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from state.micros import to_micros
from state.sqlite.database import Database
from state.stores.audit import AuditRow, AuditStore, decode_audit

_PAGE = 500
_FROM_THE_START = (-1, "")

_APPEND = "INSERT OR REPLACE INTO audit (tenant_id, position, event_id, at, body) VALUES (?, ?, ?, ?, ?)"
_ADD = _APPEND.replace("REPLACE", "IGNORE")
_TAIL = """
SELECT position, event_id, body FROM audit WHERE tenant_id = ? ORDER BY position DESC, event_id DESC LIMIT ?
"""
_EXPORT = """
SELECT position, event_id, body FROM audit
WHERE tenant_id = ? AND (position, event_id) > (?, ?) AND at >= ? ORDER BY position, event_id LIMIT ?
"""

_ERASE = "DELETE FROM audit WHERE tenant_id = ?"


class SqliteAudit(AuditStore):
    """Rows in the order of their positions."""

    def __init__(self, database: Database) -> None:
        self._writer, self._readers = database.writer, database.readers
        self._codec = database.codec

    async def add_missing(self, tenant_id: str, row: AuditRow) -> None:
        """See `state.AuditStore.add_missing`."""
        values = self._values(tenant_id, row)
        await self._writer.run(lambda c: c.execute(_ADD, values))

    async def append(self, tenant_id: str, rows: Sequence[AuditRow]) -> None:
        """See `state.AuditStore.append`."""
        values = [self._values(tenant_id, row) for row in rows]
        await self._writer.run(lambda c: c.executemany(_APPEND, values))

    async def tail(self, tenant_id: str, *, limit: int = 100) -> list[AuditRow]:
        """See `state.AuditStore.tail`."""
        rows = await self._readers.run(lambda c: c.execute(_TAIL, (tenant_id, max(limit, 0))).fetchall())
        return list(decode_audit(self._codec, reversed(rows), tenant_id))

    async def export(self, tenant_id: str, *, since: datetime | None = None) -> AsyncIterator[AuditRow]:
        """See `state.AuditStore.export`."""
        earliest = 0 if since is None else to_micros(since)
        after = _FROM_THE_START
        while True:
            key = (tenant_id, *after, earliest, _PAGE)
            page = await self._readers.run(lambda c, key=key: c.execute(_EXPORT, key).fetchall())  # type: ignore[misc]
            for row in decode_audit(self._codec, page, tenant_id):
                yield row
            if len(page) < _PAGE:
                return
            after = page[-1][:2]

    async def erase(self, tenant_id: str) -> None:
        """See `state.AuditStore.erase`."""
        await self._writer.run(lambda c: c.execute(_ERASE, (tenant_id,)), erases=True)

    def _values(self, tenant_id: str, row: AuditRow) -> tuple[str, int, str, int, bytes]:
        body = self._codec.encode(tenant_id, row.event.to_bytes())
        return tenant_id, row.position, row.event_id, to_micros(row.event.at), body
