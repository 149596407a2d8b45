"""Items: JSON values by namespace and key that a user and the user's agents keep. Nobody sees another user's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from core.principal import Principal
from schemas.common.clock import utc_now
from state import Item, ItemStore, matches, namespaces, ranked

__all__ = ["Item", "UserItems"]


class UserItems:
    """The items of whoever calls. Its methods raise `BadItem` for impossible namespaces, keys and filters."""

    def __init__(self, store: ItemStore) -> None:
        self._store = store

    async def get(self, by: Principal, namespace: Sequence[str], key: str) -> Item | None:
        """The item; None when there is none."""
        by.require("read")
        return await self._store.get(by.tenant_id, by.user_id, namespace, key)

    async def put(
        self, by: Principal, namespace: Sequence[str], key: str, value: dict[str, Any], *, lifetime: timedelta | None
    ) -> None:
        """Stores a value, in place of what was there; it disappears after `lifetime`, if that is given."""
        by.require("write")
        expires = None if lifetime is None else utc_now() + lifetime
        await self._store.put(by.tenant_id, by.user_id, namespace, key, value, expires=expires)

    async def delete(self, by: Principal, namespace: Sequence[str], key: str) -> None:
        """Removes the item, if there is one."""
        by.require("write")
        await self._store.delete(by.tenant_id, by.user_id, namespace, key)

    async def search(
        self, by: Principal, prefix: Sequence[str], conditions: Mapping[str, Any], query: str | None
    ) -> list[tuple[Item, float | None]]:
        """Items below a namespace whose fields meet the conditions: newest first, or ranked by how many of the query's words they
        contain, which is returned with each."""
        by.require("read")
        return ranked([item async for item in self._below(by, prefix) if matches(item, conditions)], query)

    async def namespaces(
        self, by: Principal, *, prefix: Sequence[str], suffix: Sequence[str], max_depth: int | None
    ) -> list[tuple[str, ...]]:
        """Namespaces that have items, sorted, cut at a depth; `*` in a prefix or suffix stands for any label."""
        by.require("read")
        found = [item async for item in self._below(by, ())]
        return namespaces(found, prefix=prefix, suffix=suffix, max_depth=max_depth)

    def _below(self, by: Principal, prefix: Sequence[str]) -> AsyncIterator[Item]:
        return self._store.below(by.tenant_id, by.user_id, prefix)
