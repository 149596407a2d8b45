"""Reading the audit trail: one's own part of it, and a tenant's for its administrators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from core.permissions import Operation, require
from core.principal import Principal
from state import AuditRow, AuditStore

__all__ = ["AuditReader", "AuditRow"]

LOOKED_AT = 2_000
"""Newest rows of the tenant's trail in which one's own are looked for."""


class AuditReader:
    """Reads what the audit group has stored, which may be a moment behind."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def own(self, by: Principal, *, limit: int) -> list[AuditRow]:
        """The newest events about the caller, oldest first."""
        require(by, Operation.READ)
        rows = await self._store.tail(by.tenant_id, limit=LOOKED_AT)
        return [row for row in rows if row.event.user_id == by.user_id][-limit:]

    async def tail(self, by: Principal, tenant_id: str, *, limit: int) -> list[AuditRow]:
        """The newest events of a tenant, oldest first."""
        by.require_over(tenant_id)
        return await self._store.tail(tenant_id, limit=limit)

    def export(self, by: Principal, tenant_id: str, *, since: datetime | None = None) -> AsyncIterator[AuditRow]:
        """All events of a tenant in order, from `since` on."""
        by.require_over(tenant_id)
        return self._store.export(tenant_id, since=since)
