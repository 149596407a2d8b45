"""What agents and clients keep for a user: see `state.ItemStore`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from schemas import UnreadableRow
from state.cassandra.credentials import ttl_until
from state.cassandra.keyspace import Keyspace
from state.cassandra.partitions import of_tenant
from state.cassandra.queries import Kind, Query
from state.micros import to_micros
from state.pages import Usage, size_of
from state.stores.items import Item, ItemStore, checked_key, decode_item, decode_items, joined, prefix_range

_BESIDE = 256 << 10
"""Bytes of a page from which on it is decoded in a thread of its own."""
_ONE = "tenant_id = ? AND user_id = ? AND namespace = ? AND item_key = ?"
_COLUMNS = "namespace, item_key, content, created_at, updated_at, body"  # body: of rows of an older version
_PUT = Query(
    Kind.WRITE,
    f"INSERT INTO KEYSPACE.items (tenant_id, user_id, {_COLUMNS}, size) VALUES (?, ?, ?, ?, ?, ?, ?, null, ?) USING TTL ?",
)
_GET = Query(Kind.READ, f"SELECT {_COLUMNS} FROM KEYSPACE.items WHERE {_ONE}")
_DELETE = Query(Kind.WRITE, f"DELETE FROM KEYSPACE.items WHERE {_ONE}")
_KEYS = Query(Kind.READ, "SELECT DISTINCT tenant_id, user_id FROM KEYSPACE.items")
_ERASE = Query(Kind.WRITE, "DELETE FROM KEYSPACE.items WHERE tenant_id = ? AND user_id = ?")
_LIST = Query(
    Kind.READ,
    f"SELECT {_COLUMNS} FROM KEYSPACE.items WHERE tenant_id = ? AND user_id = ? AND namespace >= ? AND namespace < ?",
)
_COUNT = Query(Kind.READ, "SELECT count(updated_at), sum(size) FROM KEYSPACE.items WHERE tenant_id = ? AND user_id = ?")
_NAMES = Query(
    Kind.READ,
    "SELECT namespace, updated_at FROM KEYSPACE.items WHERE tenant_id = ? AND user_id = ? AND namespace >= ? AND namespace < ?",
)


class CassandraItems(ItemStore):
    """A user's items are one partition, in the order of their namespaces."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session, self._codec, self._now = keyspace.session, keyspace.codec, keyspace.now

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
        """See `state.ItemStore.put`. The first of two puts at the same moment may lose its `created_at`."""
        now = to_micros(self._now())
        try:
            known = await self.get(tenant_id, user_id, namespace, checked_key(key))
        except UnreadableRow:  # it is replaced
            known = None
        created = to_micros(known.created_at) if known else now
        content = self._codec.encode(tenant_id, json.dumps(value).encode())
        row = (tenant_id, user_id, joined(namespace), key, content, created, now, len(content))
        await self._session.execute(_PUT, *row, ttl_until(expires))

    async def get(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> Item | None:
        """See `state.ItemStore.get`."""
        rows = await self._session.execute(_GET, tenant_id, user_id, joined(namespace), checked_key(key))
        there = _rows(rows)
        return decode_item(self._codec, there[0], tenant_id, user_id) if there else None

    async def delete(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> None:
        """See `state.ItemStore.delete`."""
        await self._session.execute(_DELETE, tenant_id, user_id, joined(namespace), checked_key(key))

    async def below(self, tenant_id: str, user_id: str, prefix: Sequence[str]) -> AsyncIterator[Item]:
        """See `state.ItemStore.below`."""
        async for page in self._session.pages(_LIST, tenant_id, user_id, *prefix_range(prefix)):
            read = partial(list[Item], decode_items(self._codec, _rows(page), tenant_id, user_id))
            large = sum(size_of(row) for row in page) > _BESIDE
            for item in await asyncio.to_thread(read) if large else read():
                if item.is_below(prefix):
                    yield item

    async def names(self, tenant_id: str, user_id: str, prefix: Sequence[str]) -> AsyncIterator[tuple[str, ...]]:
        """See `state.ItemStore.names`."""
        last = None
        async for page in self._session.pages(_NAMES, tenant_id, user_id, *prefix_range(prefix)):
            for name, updated in page:
                labels = tuple(name.split("."))
                if updated is not None and name != last and labels[: len(prefix)] == tuple(prefix):
                    last = name
                    yield labels

    async def count(self, tenant_id: str, user_id: str) -> Usage:
        """See `state.ItemStore.count`."""
        ((rows, size),) = await self._session.execute(_COUNT, tenant_id, user_id)
        return Usage(rows, size or 0)

    async def users(self, tenant_id: str) -> list[str]:
        """See `state.ItemStore.users`."""
        return await of_tenant(self._session, _KEYS, tenant_id)

    async def erase(self, tenant_id: str, user_id: str) -> None:
        """See `state.ItemStore.erase`."""
        await self._session.execute(_ERASE, tenant_id, user_id)


def _rows(stored: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return [
        # Where both are there, an older version wrote the body over the content: newer ones remove it.
        (namespace, key, content if body is None else body, created, updated)
        for namespace, key, content, created, updated, body in stored
        # Every version writes the times: without them, what was written last has expired, and the content is of before it.
        if updated is not None
    ]
