"""The audit trail: see `state.AuditStore`."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from state.micros import to_micros
from state.pages import PAGE_BYTES, Page, paged
from state.sqlite.database import Database
from state.stores.audit import END, AuditPlace, AuditRow, AuditStore, decode_audit, rename_user, users_of

_PAGE = 500
_FROM_THE_START = (-1, "")

_APPEND = "INSERT OR REPLACE INTO audit (tenant_id, position, event_id, at, body) VALUES (?, ?, ?, ?, ?)"
_ADD = _APPEND.replace("REPLACE", "IGNORE")
_APPEND_OF_USER = "INSERT OR IGNORE INTO audit_by_user (tenant_id, user_id, position, event_id) VALUES (?, ?, ?, ?)"
_TAIL = """
SELECT position, event_id, body FROM audit
WHERE tenant_id = ? AND (position, event_id) < (?, ?) ORDER BY position DESC, event_id DESC
"""
# CROSS JOIN: the user's rows are read first, in their order.
_OF_USER = """
SELECT a.position, a.event_id, a.body
FROM audit_by_user u CROSS JOIN audit a
WHERE u.tenant_id = ? AND u.user_id = ? AND (u.position, u.event_id) < (?, ?)
  AND a.tenant_id = u.tenant_id AND a.position = u.position AND a.event_id = u.event_id
ORDER BY u.position DESC, u.event_id DESC
"""
_EXPORT = """
SELECT position, event_id, body FROM audit
WHERE tenant_id = ? AND (position, event_id) > (?, ?) AND at >= ? ORDER BY position, event_id LIMIT ?
"""

_ERASE = "DELETE FROM audit WHERE tenant_id = ?"
_ERASE_USERS = "DELETE FROM audit_by_user WHERE tenant_id = ?"
_ERASE_USER = "DELETE FROM audit_by_user WHERE tenant_id = ? AND user_id = ?"


class SqliteAudit(AuditStore):
    """Rows in the order of their positions."""

    def __init__(self, database: Database) -> None:
        self._writer, self._readers = database.writer, database.readers
        self._codec = database.codec

    async def add_missing(self, tenant_id: str, row: AuditRow) -> None:
        """See `state.AuditStore.add_missing`."""
        values, of_users = self._values(tenant_id, row), _of_users(tenant_id, row)

        def add(connection: sqlite3.Connection) -> None:
            # The row that is there may be without its user by now.
            if connection.execute(_ADD, values).rowcount:
                connection.executemany(_APPEND_OF_USER, of_users)

        await self._writer.run(add)

    async def append(self, tenant_id: str, rows: Sequence[AuditRow]) -> None:
        """See `state.AuditStore.append`."""
        values = [self._values(tenant_id, row) for row in rows]
        of_users = [one for row in rows for one in _of_users(tenant_id, row)]

        def append(connection: sqlite3.Connection) -> None:
            connection.executemany(_APPEND, values)
            connection.executemany(_APPEND_OF_USER, of_users)

        await self._writer.run(append)

    async def tail(
        self, tenant_id: str, *, limit: int = 100, before: AuditPlace | None = None, max_bytes: int = PAGE_BYTES
    ) -> Page[AuditRow]:
        """See `state.AuditStore.tail`."""
        return await self._page(_TAIL, (tenant_id,), limit, before, max_bytes)

    async def of_user(
        self,
        tenant_id: str,
        user_id: str,
        *,
        limit: int = 100,
        before: AuditPlace | None = None,
        max_bytes: int = PAGE_BYTES,
    ) -> Page[AuditRow]:
        """See `state.AuditStore.of_user`."""
        return await self._page(_OF_USER, (tenant_id, user_id), limit, before, max_bytes)

    async def _page(
        self, query: str, key: tuple[str, ...], limit: int, before: AuditPlace | None, max_bytes: int
    ) -> Page[AuditRow]:
        page = await self._readers.run(
            lambda c: paged(
                c.execute(query, (*key, *(before or END))),
                lambda rows: decode_audit(self._codec, rows, key[0]),
                limit=limit,
                max_bytes=max_bytes,
                place=lambda row: row[:2],
            )
        )
        page.reverse()
        return page

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

        def erase(connection: sqlite3.Connection) -> None:
            connection.execute(_ERASE, (tenant_id,))
            connection.execute(_ERASE_USERS, (tenant_id,))

        await self._writer.run(erase, erases=True)

    async def erase_user(self, tenant_id: str, user_id: str) -> None:
        """See `state.AuditStore.erase_user`."""
        await rename_user(self, tenant_id, user_id)
        await self._writer.run(lambda c: c.execute(_ERASE_USER, (tenant_id, user_id)), erases=True)

    def _values(self, tenant_id: str, row: AuditRow) -> tuple[str, int, str, int, bytes]:
        body = self._codec.encode(tenant_id, row.event.to_bytes())
        return tenant_id, row.position, row.event_id, to_micros(row.event.at), body


def _of_users(tenant_id: str, row: AuditRow) -> list[tuple[str, str, int, str]]:
    return [(tenant_id, user, *row.place) for user in users_of(row.event)]
