"""The item store as clients and hosted graphs have it: what they put into it has quotas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from core.principal import Principal
from core.quotas import Quotas
from state import Item, ItemStore, Usage


class BoundedItems(ItemStore):
    """Everything but `put` and `delete` is the store's."""

    def __init__(self, store: ItemStore, quotas: Quotas) -> None:
        self._store, self._quotas = store, quotas

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
        """See `state.ItemStore.put`. Raises `Forbidden` where the user has as much as may be."""
        where = (tenant_id, user_id, namespace, key)

        async def replaced() -> int | None:
            there = await self._store.get(*where)
            return there.size if there else None

        await self._quotas.item(Principal(tenant_id, user_id), len(json.dumps(value)), replaced)
        await self._store.put(*where, value, expires=expires)

    async def get(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> Item | None:
        """See `state.ItemStore.get`."""
        return await self._store.get(tenant_id, user_id, namespace, key)

    async def delete(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> None:
        """See `state.ItemStore.delete`."""
        await self._store.delete(tenant_id, user_id, namespace, key)
        self._quotas.item_deleted(tenant_id, user_id)

    def below(self, tenant_id: str, user_id: str, prefix: Sequence[str]) -> AsyncIterator[Item]:
        """See `state.ItemStore.below`."""
        return self._store.below(tenant_id, user_id, prefix)

    def names(self, tenant_id: str, user_id: str, prefix: Sequence[str]) -> AsyncIterator[tuple[str, ...]]:
        """See `state.ItemStore.names`."""
        return self._store.names(tenant_id, user_id, prefix)

    async def count(self, tenant_id: str, user_id: str) -> Usage:
        """See `state.ItemStore.count`."""
        return await self._store.count(tenant_id, user_id)

    async def users(self, tenant_id: str) -> list[str]:
        """See `state.ItemStore.users`."""
        return await self._store.users(tenant_id)

    async def erase(self, tenant_id: str, user_id: str) -> None:
        """See `state.ItemStore.erase`."""
        await self._store.erase(tenant_id, user_id)
