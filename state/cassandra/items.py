"""What agents and clients keep for a user: see `state.ItemStore`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from schemas import UnreadableRow
from state.cassandra.credentials import ttl_until
from state.cassandra.keyspace import Keyspace
from state.cassandra.queries import Kind, Query
from state.micros import to_micros
from state.readable import read, readable
from state.stores.items import Item, ItemStore, checked_key, decode_item, item_name, joined, prefix_range

_ONE = "tenant_id = ? AND user_id = ? AND namespace = ? AND item_key = ?"
_COLUMNS = "namespace, item_key, body, created_at, updated_at"
_PUT = Query(
    Kind.WRITE,
    f"INSERT INTO KEYSPACE.items (tenant_id, user_id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) USING TTL ?",
)
_GET = Query(Kind.READ, f"SELECT {_COLUMNS} FROM KEYSPACE.items WHERE {_ONE}")
_DELETE = Query(Kind.WRITE, f"DELETE FROM KEYSPACE.items WHERE {_ONE}")
_LIST = Query(
    Kind.READ,
    f"SELECT {_COLUMNS} FROM KEYSPACE.items WHERE tenant_id = ? AND user_id = ? AND namespace >= ? AND namespace < ?",
)


class CassandraItems(ItemStore):
    """A user's items are one partition, in the order of their namespaces."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session, self._now = keyspace.session, keyspace.now

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
        row = (tenant_id, user_id, joined(namespace), key, json.dumps(value), created, now)
        await self._session.execute(_PUT, *row, ttl_until(expires))

    async def get(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> Item | None:
        """See `state.ItemStore.get`."""
        rows = await self._session.execute(_GET, tenant_id, user_id, joined(namespace), checked_key(key))
        if not rows:
            return None
        return read(item_name(tenant_id, user_id, rows[0]), lambda: decode_item(rows[0]))

    async def delete(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> None:
        """See `state.ItemStore.delete`."""
        await self._session.execute(_DELETE, tenant_id, user_id, joined(namespace), checked_key(key))

    async def below(self, tenant_id: str, user_id: str, prefix: Sequence[str]) -> AsyncIterator[Item]:
        """See `state.ItemStore.below`."""
        async for page in self._session.pages(_LIST, tenant_id, user_id, *prefix_range(prefix)):
            for item in readable(page, decode_item, lambda row: item_name(tenant_id, user_id, row)):
                if item.is_below(prefix):
                    yield item
