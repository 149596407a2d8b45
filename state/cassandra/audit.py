"""The audit trail: see `state.AuditStore`. A partition holds a tenant's month.

A row's month is that of its own clock, while its position is its offset in the topic: around the turn of a month, and
with clocks that disagree, positions of neighbouring months interleave. Reads merge the months by position.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from schemas.common.recent import TtlCache
from state.cassandra.keyspace import Keyspace
from state.cassandra.partitions import of_tenant
from state.cassandra.queries import Kind, Query
from state.stores.audit import AuditRow, AuditStore, audit_values, decode_audit

_ROWS_A_BATCH, _BYTES_A_BATCH = 50, 1 << 20
_MONTH_KNOWN_SECONDS = 60
"""Another process may erase a trail: what comes for it afterwards is listed again after so long."""

_APPEND = Query(
    Kind.WRITE, "INSERT INTO KEYSPACE.audit (tenant_id, month, position, event_id, body) VALUES (?, ?, ?, ?, ?)"
)
_ADD = Query(
    Kind.CONDITIONAL,
    "INSERT INTO KEYSPACE.audit (tenant_id, month, position, event_id, body) VALUES (?, ?, ?, ?, ?) IF NOT EXISTS",
)
_ADD_MONTH = Query(Kind.WRITE, "INSERT INTO KEYSPACE.audit_months (tenant_id, month) VALUES (?, ?)")
_MONTHS = Query(Kind.READ, "SELECT month FROM KEYSPACE.audit_months WHERE tenant_id = ?")
_ROWS = Query(Kind.READ, "SELECT position, event_id, body FROM KEYSPACE.audit WHERE tenant_id = ? AND month = ?")
_NEWEST = Query(
    Kind.READ,
    "SELECT position, event_id, body FROM KEYSPACE.audit WHERE tenant_id = ? AND month = ? "
    "ORDER BY position DESC, event_id DESC LIMIT ?",
)
_KEYS = Query(Kind.READ, "SELECT DISTINCT tenant_id, month FROM KEYSPACE.audit")
_ERASE = Query(Kind.WRITE, "DELETE FROM KEYSPACE.audit WHERE tenant_id = ? AND month = ?")
_ERASE_MONTHS = Query(Kind.WRITE, "DELETE FROM KEYSPACE.audit_months WHERE tenant_id = ?")


class CassandraAudit(AuditStore):
    """Rows by tenant and month, in the order of their positions."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session, self._codec = keyspace.session, keyspace.codec
        self._listed: TtlCache[Any] = TtlCache(ttl=_MONTH_KNOWN_SECONDS, clock=lambda: keyspace.now().timestamp())

    async def append(self, tenant_id: str, rows: Sequence[AuditRow]) -> None:
        """See `state.AuditStore.append`."""
        months: dict[int, list[tuple[Query, tuple[Any, ...]]]] = {}
        for row in rows:
            month = _month(row.event.at)
            values = (tenant_id, month, *audit_values(self._codec, tenant_id, row))
            months.setdefault(month, []).append((_APPEND, values))
        for month, inserts in months.items():
            await self._add_month(tenant_id, month)
            for batch in _batches(inserts):
                await self._session.execute_batch(Kind.WRITE, batch)

    async def add_missing(self, tenant_id: str, row: AuditRow) -> None:
        """See `state.AuditStore.add_missing`."""
        month = _month(row.event.at)
        await self._add_month(tenant_id, month)
        await self._session.execute(_ADD, tenant_id, month, *audit_values(self._codec, tenant_id, row))

    async def tail(self, tenant_id: str, *, limit: int = 100) -> list[AuditRow]:
        """See `state.AuditStore.tail`."""
        found: list[tuple[int, str, bytes]] = []
        enough = limit <= 0
        for month in reversed(await self._months(tenant_id)):
            if enough:
                break
            enough = len(found) >= limit  # the month before may still have rows that belong among them
            found += await self._session.execute(_NEWEST, tenant_id, month, limit)
        found.sort(key=lambda row: row[:2])
        return list(decode_audit(self._codec, found[-limit:] if limit > 0 else (), tenant_id))

    async def export(self, tenant_id: str, *, since: datetime | None = None) -> AsyncIterator[AuditRow]:
        """See `state.AuditStore.export`."""
        first = 0 if since is None else _month(since)
        months = [self._month_rows(tenant_id, month) for month in await self._months(tenant_id) if month >= first]
        async for row in _merged(months):
            if since is None or row.event.at >= since:
                yield row

    async def erase(self, tenant_id: str) -> None:
        """See `state.AuditStore.erase`."""
        await self._session.execute(_ERASE_MONTHS, tenant_id)
        # By the keys of the rows: a process that knew of its month has not listed it again.
        for month in await of_tenant(self._session, _KEYS, tenant_id):
            await self._session.execute(_ERASE, tenant_id, month)

    async def _add_month(self, tenant_id: str, month: int) -> None:
        """Written before the rows, so that no row is in a month that nobody looks at."""
        key = (tenant_id, month)
        await self._listed.get(key, lambda: self._session.execute(_ADD_MONTH, *key))

    async def _months(self, tenant_id: str) -> list[int]:
        return [month async for page in self._session.pages(_MONTHS, tenant_id) for (month,) in page]

    async def _month_rows(self, tenant_id: str, month: int) -> AsyncIterator[AuditRow]:
        async for page in self._session.pages(_ROWS, tenant_id, month):
            for row in decode_audit(self._codec, page, tenant_id):
                yield row


def _batches(inserts: Sequence[tuple[Query, tuple[Any, ...]]]) -> Iterator[list[tuple[Query, tuple[Any, ...]]]]:
    """In groups that Cassandra takes as one mutation; it refuses one of more than 16 MiB (half a commit log segment)."""
    batch, size = list[tuple[Query, tuple[Any, ...]]](), 0
    for insert in inserts:
        row = len(insert[1][-1])
        if batch and (len(batch) == _ROWS_A_BATCH or size + row > _BYTES_A_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(insert)
        size += row
    if batch:
        yield batch


async def _merged(sources: Sequence[AsyncIterator[AuditRow]]) -> AsyncIterator[AuditRow]:
    """Rows of several sources, each in order, in order."""
    heap: list[tuple[int, str, int, AuditRow]] = []
    for index, source in enumerate(sources):
        async for row in source:
            heap.append((row.position, row.event_id, index, row))
            break
    heapq.heapify(heap)
    while heap:
        *_, index, row = heap[0]
        yield row
        try:
            following = await anext(sources[index])
        except StopAsyncIteration:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following.position, following.event_id, index, following))


def _month(time: datetime) -> int:
    utc = time.astimezone(UTC)
    return utc.year * 100 + utc.month
