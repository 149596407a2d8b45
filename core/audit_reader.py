"""Reading the audit trail: one's own part of it, and a tenant's for its administrators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from core.permissions import Operation, require
from core.principal import Principal
from schemas.common.recent import Recent
from state import AuditPlace, AuditRow, AuditStore, Page, users_of

__all__ = ["AuditPlace", "AuditReader", "AuditRow"]

REMEMBERED = 10_000
"""Ids of events: those that are sent again come soon after."""


class AuditReader:
    """Reads what the audit group has stored, which may be a moment behind.

    Pages are of the newest events, or of those before a place (`before`, the `next` of a page), oldest first. An event that was
    sent twice, because a gateway ended between sending it and noting that, is shown once in a page or an export.
    """

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def own(self, by: Principal, *, limit: int, before: AuditPlace | None = None) -> Page[AuditRow]:
        """A page of the events that are the caller's: what was done for the caller, and by the caller."""
        require(by, Operation.READ)
        return _once(await self._store.of_user(by.tenant_id, by.user_id, limit=limit, before=before))

    async def tail(
        self,
        by: Principal,
        tenant_id: str,
        *,
        limit: int,
        user_id: str | None = None,
        before: AuditPlace | None = None,
    ) -> Page[AuditRow]:
        """A page of the events of a tenant, or of one of its users."""
        by.require_over(tenant_id)
        if user_id is None:
            return _once(await self._store.tail(tenant_id, limit=limit, before=before))
        return _once(await self._store.of_user(tenant_id, user_id, limit=limit, before=before))

    def export(
        self, by: Principal, tenant_id: str, *, since: datetime | None = None, user_id: str | None = None
    ) -> AsyncIterator[AuditRow]:
        """All events of a tenant in order, or those of one of its users, from `since` on. Looks at the whole trail."""
        by.require_over(tenant_id)
        rows = _each_once(self._store.export(tenant_id, since=since))
        return rows if user_id is None else (row async for row in rows if user_id in users_of(row.event))


def _once(page: Page[AuditRow]) -> Page[AuditRow]:
    found: dict[str, AuditRow] = {}
    for row in page:
        found.setdefault(row.event_id, row)
    return Page(found.values(), page.next)


async def _each_once(rows: AsyncIterator[AuditRow]) -> AsyncIterator[AuditRow]:
    seen: Recent[str, None] = Recent(REMEMBERED)
    async for row in rows:
        if row.event_id not in seen:
            seen[row.event_id] = None
            yield row
