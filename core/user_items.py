"""Items: JSON values by namespace and key that a user and the user's agents keep. Nobody sees another user's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from core.audit_writer import AuditWriter
from core.bounded_items import BoundedItems
from core.permissions import Operation, require
from core.principal import Principal
from core.quotas import Quotas
from schemas import Action
from schemas.common.clock import utc_now
from state import MOST_LABELS, Item, ItemStore, Page, namespaces, search_items

__all__ = ["MOST_LABELS", "Item", "UserItems"]


class UserItems:
    """The items of whoever calls. Its methods raise `BadItem` for impossible namespaces, keys and filters."""

    def __init__(self, store: ItemStore, quotas: Quotas, trail: AuditWriter) -> None:
        self._store, self._trail = BoundedItems(store, quotas), trail

    async def get(self, by: Principal, namespace: Sequence[str], key: str) -> Item | None:
        """The item; None when there is none."""
        require(by, Operation.READ)
        return await self._store.get(by.tenant_id, by.user_id, namespace, key)

    async def put(
        self, by: Principal, namespace: Sequence[str], key: str, value: dict[str, Any], *, lifetime: timedelta | None
    ) -> None:
        """Stores a value, in place of what was there; it disappears after `lifetime`, if that is given."""
        require(by, Operation.KEEP_ITEMS)
        expires = None if lifetime is None else utc_now() + lifetime
        await self._store.put(by.tenant_id, by.user_id, namespace, key, value, expires=expires)
        await self._tell(by, Action.ITEM_PUT, namespace, key)

    async def delete(self, by: Principal, namespace: Sequence[str], key: str) -> None:
        """Removes the item, if there is one."""
        require(by, Operation.KEEP_ITEMS)
        await self._store.delete(by.tenant_id, by.user_id, namespace, key)
        await self._tell(by, Action.ITEM_DELETED, namespace, key)

    async def _tell(self, by: Principal, action: Action, namespace: Sequence[str], key: str) -> None:
        """Names are the user's own words, and the trail keeps none: a digest tells items apart."""
        digest = hashlib.sha256(json.dumps([*namespace, key]).encode()).hexdigest()[:16]
        await self._trail.write(by, action, user_id=by.user_id, subject=f"item:{digest}")

    async def search(
        self,
        by: Principal,
        prefix: Sequence[str],
        conditions: Mapping[str, Any],
        query: str | None,
        *,
        limit: int,
        offset: int,
        max_bytes: int | None = None,
    ) -> Page[tuple[Item, float | None]]:
        """Items below a namespace whose fields meet the conditions: newest first, or ranked by how many of the query's words they
        contain, which is returned with each."""
        require(by, Operation.READ)
        bounds: dict[str, Any] = {"limit": limit, "offset": offset, "max_bytes": max_bytes}
        whose = (by.tenant_id, by.user_id)
        return await search_items(self._store, *whose, prefix, conditions=conditions, query=query, **bounds)

    async def namespaces(
        self, by: Principal, *, prefix: Sequence[str], suffix: Sequence[str], max_depth: int | None
    ) -> list[tuple[str, ...]]:
        """Namespaces that have items, sorted, cut at a depth; `*` in a prefix or suffix stands for any label."""
        require(by, Operation.READ)
        found = [name async for name in self._store.names(by.tenant_id, by.user_id, ())]
        return namespaces(found, prefix=prefix, suffix=suffix, max_depth=max_depth)
