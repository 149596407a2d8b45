"""What agents and clients keep for a user: see `state.ItemStore`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from state.micros import to_micros
from state.pages import PAGE_BYTES, Page, Usage, paged
from state.sqlite.database import Database
from state.stores.items import Item, ItemStore, checked_key, decode_item, decode_items, joined, prefix_range

_PAGE = 500
"""Rows of a page; fewer where they are large."""
_PURGED_A_PUT = 8
_NEVER = 1 << 62

_PUT = """
INSERT INTO items (tenant_id, user_id, namespace, item_key, body, created_at, updated_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    created_at = CASE WHEN expires_at > excluded.updated_at THEN created_at ELSE excluded.created_at END,
    body = excluded.body, updated_at = excluded.updated_at, expires_at = excluded.expires_at
"""
_PURGE = """
DELETE FROM items WHERE (tenant_id, user_id, namespace, item_key) IN (
    SELECT tenant_id, user_id, namespace, item_key FROM items WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""
_ONE = "tenant_id = ? AND user_id = ? AND namespace = ? AND item_key = ?"
_COLUMNS = "namespace, item_key, body, created_at, updated_at"
_GET = f"SELECT {_COLUMNS} FROM items WHERE {_ONE} AND expires_at > ?"
_DELETE = f"DELETE FROM items WHERE {_ONE}"
_COUNT = "SELECT count(*), sum(length(body)) FROM items WHERE tenant_id = ? AND user_id = ? AND expires_at > ?"
_USERS = "SELECT DISTINCT user_id FROM items WHERE tenant_id = ? ORDER BY user_id"
_ERASE = "DELETE FROM items WHERE tenant_id = ? AND user_id = ?"
_LIST = f"""
SELECT {_COLUMNS} FROM items
WHERE tenant_id = ? AND user_id = ? AND (namespace, item_key) > (?, ?) AND namespace < ? AND expires_at > ?
ORDER BY namespace, item_key
"""
_NAMES = """
SELECT DISTINCT namespace FROM items
WHERE tenant_id = ? AND user_id = ? AND namespace >= ? AND namespace < ? AND expires_at > ? ORDER BY namespace LIMIT ?
"""


class SqliteItems(ItemStore):
    """Rows past their time are invisible; every `put` deletes a few of them."""

    def __init__(self, database: Database) -> None:
        self._writer, self._readers, self._now = database.writer, database.readers, database.now
        self._codec = database.codec

    async def put(
        self,
        tenant_id: str,
        user_id: str,
        namespace: Sequence[str],
        key: str,
        value: dict[str, Any],
        *,
        expires: datetime | None = None,
    ) -> None:
        """See `state.ItemStore.put`."""
        now = to_micros(self._now())
        end = _NEVER if expires is None else to_micros(expires)
        body = self._codec.encode(tenant_id, json.dumps(value).encode())
        row = (tenant_id, user_id, joined(namespace), checked_key(key), body, now, now, end)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_PUT, row)
            connection.execute(_PURGE, (now, _PURGED_A_PUT))

        await self._writer.run(write)

    async def get(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> Item | None:
        """See `state.ItemStore.get`."""
        wanted = (tenant_id, user_id, joined(namespace), checked_key(key), to_micros(self._now()))
        row = await self._readers.run(lambda c: c.execute(_GET, wanted).fetchone())
        return None if row is None else decode_item(self._codec, row, tenant_id, user_id)

    async def delete(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> None:
        """See `state.ItemStore.delete`."""
        wanted = (tenant_id, user_id, joined(namespace), checked_key(key))
        await self._writer.run(lambda c: c.execute(_DELETE, wanted), erases=True)

    async def below(self, tenant_id: str, user_id: str, prefix: Sequence[str]) -> AsyncIterator[Item]:
        """See `state.ItemStore.below`."""
        first, end = prefix_range(prefix)
        now, after = to_micros(self._now()), (first, "")
        while True:
            wanted = (tenant_id, user_id, *after, end, now)

            def read(connection: sqlite3.Connection, wanted: tuple[Any, ...] = wanted) -> Page[Item]:
                return paged(
                    connection.execute(_LIST, wanted),
                    lambda rows: decode_items(self._codec, rows, tenant_id, user_id),
                    limit=_PAGE,
                    max_bytes=PAGE_BYTES,
                    place=lambda row: row[:2],
                )

            page = await self._readers.run(read)
            for item in page:
                if item.is_below(prefix):
                    yield item
            if page.next is None:
                return
            after = page.next

    async def names(self, tenant_id: str, user_id: str, prefix: Sequence[str]) -> AsyncIterator[tuple[str, ...]]:
        """See `state.ItemStore.names`."""
        first, end = prefix_range(prefix)
        now = to_micros(self._now())
        while True:
            wanted = (tenant_id, user_id, first, end, now, _PAGE)
            found = await self._readers.run(lambda c, wanted=wanted: c.execute(_NAMES, wanted).fetchall())  # type: ignore[misc]
            for (name,) in found:
                labels = tuple(name.split("."))
                if labels[: len(prefix)] == tuple(prefix):
                    yield labels
            if len(found) < _PAGE:
                return
            first = found[-1][0] + "\0"  # what follows it: no name has this character

    async def count(self, tenant_id: str, user_id: str) -> Usage:
        """See `state.ItemStore.count`."""
        wanted = (tenant_id, user_id, to_micros(self._now()))
        rows, size = await self._readers.run(lambda c: c.execute(_COUNT, wanted).fetchone())
        return Usage(rows, size or 0)

    async def users(self, tenant_id: str) -> list[str]:
        """See `state.ItemStore.users`."""
        return [user for (user,) in await self._readers.run(lambda c: c.execute(_USERS, (tenant_id,)).fetchall())]

    async def erase(self, tenant_id: str, user_id: str) -> None:
        """See `state.ItemStore.erase`."""
        await self._writer.run(lambda c: c.execute(_ERASE, (tenant_id, user_id)), erases=True)
