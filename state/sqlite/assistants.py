"""Assistants of hosted graphs: see `state.AssistantStore`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from state.pages import PAGE_BYTES, Page, Usage, paged
from state.sqlite.database import Database
from state.stores.assistants import (
    AssistantRow,
    AssistantStore,
    check_assistant_version,
    decode_assistant,
    decode_assistants,
)

_CREATE = "INSERT OR IGNORE INTO assistants (newest, current, tenant_id, assistant_id) VALUES (?, ?, ?, ?)"
_ADVANCE = "UPDATE assistants SET newest = ?, current = ? WHERE tenant_id = ? AND assistant_id = ? AND newest = ?"
_VERSION = "INSERT INTO assistant_versions (tenant_id, assistant_id, version, body) VALUES (?, ?, ?, ?)"
_CHOOSE = "UPDATE assistants SET current = ? WHERE tenant_id = ? AND assistant_id = ? AND ? BETWEEN 1 AND newest"
_CURRENT = """
SELECT v.assistant_id, v.version, v.body FROM assistants a
JOIN assistant_versions v ON (v.tenant_id, v.assistant_id, v.version) = (a.tenant_id, a.assistant_id, a.current)
WHERE a.tenant_id = ?
"""
_GET = f"{_CURRENT} AND a.assistant_id = ?"
_LIST = f"{_CURRENT} AND a.assistant_id > ? ORDER BY a.assistant_id"
_COUNT = "SELECT count(*) FROM assistants WHERE tenant_id = ?"
_NEWEST = "SELECT newest FROM assistants WHERE tenant_id = ? AND assistant_id = ?"
_VERSIONS = """
SELECT assistant_id, version, body FROM assistant_versions
WHERE tenant_id = ? AND assistant_id = ? AND version < ? ORDER BY version DESC
"""
_NO_VERSION = 2**31
_DELETE = "DELETE FROM assistants WHERE tenant_id = ? AND assistant_id = ?"
_DELETE_VERSIONS = "DELETE FROM assistant_versions WHERE tenant_id = ? AND assistant_id = ?"


class SqliteAssistants(AssistantStore):
    """The versions are rows of their own; the assistant's row says which one counts."""

    def __init__(self, database: Database) -> None:
        self._writer, self._readers = database.writer, database.readers
        self._codec = database.codec

    async def put(self, tenant_id: str, row: AssistantRow, *, expected_version: int) -> bool:
        """See `state.AssistantStore.put`."""
        check_assistant_version(row, expected_version)
        key, body = (tenant_id, row.assistant_id), self._codec.encode(tenant_id, row.body)

        def write(connection: sqlite3.Connection) -> bool:
            values = (row.version, row.version, *key)
            if expected_version == 0:
                done = connection.execute(_CREATE, values).rowcount == 1
            else:
                done = connection.execute(_ADVANCE, (*values, expected_version)).rowcount == 1
            if done:
                connection.execute(_VERSION, (*key, row.version, body))
            return done

        return await self._writer.run(write)

    async def choose(self, tenant_id: str, assistant_id: str, version: int) -> bool:
        """See `state.AssistantStore.choose`."""
        values = (version, tenant_id, assistant_id, version)
        return await self._writer.run(lambda c: c.execute(_CHOOSE, values).rowcount == 1)

    async def get(self, tenant_id: str, assistant_id: str) -> AssistantRow | None:
        """See `state.AssistantStore.get`."""
        row = await self._readers.run(lambda c: c.execute(_GET, (tenant_id, assistant_id)).fetchone())
        return None if row is None else decode_assistant(self._codec, row, tenant_id)

    async def count(self, tenant_id: str) -> Usage:
        """See `state.AssistantStore.count`."""
        return Usage((await self._readers.run(lambda c: c.execute(_COUNT, (tenant_id,)).fetchone()))[0])

    async def newest(self, tenant_id: str, assistant_id: str) -> int:
        """See `state.AssistantStore.newest`."""
        row = await self._readers.run(lambda c: c.execute(_NEWEST, (tenant_id, assistant_id)).fetchone())
        return row[0] if row else 0

    async def versions(
        self,
        tenant_id: str,
        assistant_id: str,
        *,
        before: int | None = None,
        limit: int = 100,
        max_bytes: int = PAGE_BYTES,
    ) -> Page[AssistantRow]:
        """See `state.AssistantStore.versions`."""
        wanted = (tenant_id, assistant_id, _NO_VERSION if before is None else before)
        return await self._page(_VERSIONS, wanted, lambda row: row[1], limit, max_bytes)

    async def delete(self, tenant_id: str, assistant_id: str) -> bool:
        """See `state.AssistantStore.delete`."""
        key = (tenant_id, assistant_id)

        def write(connection: sqlite3.Connection) -> bool:
            connection.execute(_DELETE_VERSIONS, key)
            return connection.execute(_DELETE, key).rowcount == 1

        return await self._writer.run(write)

    async def list(
        self, tenant_id: str, *, after: str | None = None, limit: int = 100, max_bytes: int = PAGE_BYTES
    ) -> Page[AssistantRow]:
        """See `state.AssistantStore.list`."""
        return await self._page(_LIST, (tenant_id, after or ""), lambda row: row[0], limit, max_bytes)

    async def _page(
        self, query: str, wanted: tuple[Any, ...], place: Callable[[Any], Any], limit: int, max_bytes: int
    ) -> Page[AssistantRow]:
        return await self._readers.run(
            lambda c: paged(
                c.execute(query, wanted),
                lambda rows: decode_assistants(self._codec, rows, wanted[0]),
                limit=limit,
                max_bytes=max_bytes,
                place=place,
            )
        )
