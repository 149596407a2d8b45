"""LangGraph's store on the items of one user: clients see at `/store` what nodes keep with `store.aput`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from connectors.graphs.json_shapes import to_json
from connectors.graphs.saver import from_thread
from schemas.common.clock import utc_now
from state import BadItem, ItemStore, namespaces, search_items
from state import Item as StoredItem


class UserStore(BaseStore):
    """The store of one user. Namespaces are the user's own: none of them leads to another user or tenant.

    A search with a `query` finds items that contain words of the query, best matches first; the score is the share of the
    query's words that an item contains. There are no embeddings, and `index` is ignored. Operations of a batch are executed in
    order and individually: when one fails, the earlier ones have taken effect.
    """

    supports_ttl = True

    def __init__(self, items: ItemStore, tenant_id: str, user_id: str) -> None:
        self._items = items
        self._who = (tenant_id, user_id)
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Like `abatch`, for nodes that are plain functions. Raises `RuntimeError` on the event loop itself."""
        return from_thread(self.abatch(ops), self._loop)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The results of the operations, in order. Raises `BadItem` for invalid ones."""
        return [await self._result(op) for op in ops]

    async def _result(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            found = await self._items.get(*self._who, op.namespace, op.key)
            return Item(**_fields(found)) if found else None
        if isinstance(op, PutOp):
            await self._put(op)
            return None
        if isinstance(op, SearchOp):
            page = await search_items(
                self._items,
                *self._who,
                op.namespace_prefix,
                conditions=op.filter or {},
                query=op.query,
                limit=op.limit,
                offset=op.offset,
            )
            return [SearchItem(**_fields(item), score=score) for item, score in page]
        if isinstance(op, ListNamespacesOp):
            return await self._namespaces(op)
        raise BadItem(f"a store has no operation {type(op).__name__}")

    async def _put(self, op: PutOp) -> None:
        if op.value is None:
            await self._items.delete(*self._who, op.namespace, op.key)
            return
        # LangGraph's own stores keep any JSON value, and convert times and similar values to text.
        value: dict[str, Any] = json.loads(json.dumps(to_json(dict(op.value))))
        expires = None if op.ttl is None else utc_now() + timedelta(minutes=op.ttl)
        await self._items.put(*self._who, op.namespace, op.key, value, expires=expires)

    async def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        conditions = op.match_conditions or ()
        found = [name async for name in self._items.names(*self._who, ())]
        for condition in conditions:
            if condition.match_type == "prefix":
                fitting = set(namespaces(found, prefix=condition.path))
            elif condition.match_type == "suffix":
                fitting = set(namespaces(found, suffix=condition.path))
            else:
                raise BadItem(f"namespaces are matched by prefix or suffix, not by {condition.match_type!r}")
            found = [name for name in found if name in fitting]
        return namespaces(found, max_depth=op.max_depth)[op.offset : op.offset + op.limit]


def _fields(item: StoredItem) -> dict[str, Any]:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": item.created_at,
        "updated_at": item.updated_at,
    }
