"""The audit trail: see `state.AuditStore`. A partition holds a tenant's month.

A row's month is that of its own clock, while its position is its offset in the topic: around the turn of a month, and
with clocks that disagree, positions of neighbouring months interleave. Reads merge the months by position.

Which events are a user's is listed beside them, by user and month, without their bodies.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from schemas.common.recent import TtlCache
from state.cassandra.keyspace import Keyspace
from state.cassandra.partitions import of_tenant
from state.cassandra.queries import Kind, Query
from state.pages import PAGE_BYTES, Page, Taken
from state.stores.audit import END, AuditPlace, AuditRow, AuditStore, audit_values, decode_audit, rename_user, users_of

Insert: TypeAlias = tuple[Query, tuple[Any, ...]]

_ROWS_A_BATCH, _BYTES_A_BATCH = 50, 1 << 20
_USERS_A_BATCH, _PLACES_A_BATCH = 10, 25
"""Cassandra warns of a batch over more than 10 partitions, and of one over several that has more than 5 KiB."""
_PLACES_A_READ = 50
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
    "AND (position, event_id) < (?, ?) ORDER BY position DESC, event_id DESC",
)
_AT_PLACES = Query(
    Kind.READ,
    "SELECT position, event_id, body FROM KEYSPACE.audit WHERE tenant_id = ? AND month = ? AND (position, event_id) IN ?",
)
_ADD_OF_USER = Query(
    Kind.WRITE,
    "INSERT INTO KEYSPACE.audit_by_user (tenant_id, user_id, month, position, event_id) VALUES (?, ?, ?, ?, ?)",
)
_PLACES = Query(
    Kind.READ,
    "SELECT position, event_id, month FROM KEYSPACE.audit_by_user WHERE tenant_id = ? AND user_id = ? AND month = ? "
    "AND (position, event_id) < (?, ?)",
)
_USER_KEYS = Query(Kind.READ, "SELECT DISTINCT tenant_id, user_id, month FROM KEYSPACE.audit_by_user")
_ERASE_OF_USER = Query(
    Kind.WRITE, "DELETE FROM KEYSPACE.audit_by_user WHERE tenant_id = ? AND user_id = ? AND month = ?"
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
        months: dict[int, list[Insert]] = {}
        for row in rows:
            month = _month(row.event.at)
            values = (tenant_id, month, *audit_values(self._codec, tenant_id, row))
            months.setdefault(month, []).append((_APPEND, values))
        for month in months:
            await self._add_month(tenant_id, month)
        await self._add_of_users(tenant_id, rows)
        for inserts in months.values():
            for batch in _batches(inserts):
                await self._session.execute_batch(Kind.WRITE, batch)

    async def add_missing(self, tenant_id: str, row: AuditRow) -> None:
        """See `state.AuditStore.add_missing`."""
        month = _month(row.event.at)
        await self._add_month(tenant_id, month)
        values = audit_values(self._codec, tenant_id, row)
        (answer,) = await self._session.execute(_ADD, tenant_id, month, *values)
        # The row that is there may be without its user by now.
        stands = (row.position, row.event_id, values[2] if answer["[applied]"] else answer["body"])
        await self._add_of_users(tenant_id, list(decode_audit(self._codec, [stands], tenant_id)))

    async def _add_of_users(self, tenant_id: str, rows: Sequence[AuditRow]) -> None:
        places = [(tenant_id, user, _month(row.event.at), *row.place) for row in rows for user in users_of(row.event)]
        for batch in _user_batches(sorted(places)):
            await self._session.execute_batch(Kind.WRITE, batch)

    async def tail(
        self, tenant_id: str, *, limit: int = 100, before: AuditPlace | None = None, max_bytes: int = PAGE_BYTES
    ) -> Page[AuditRow]:
        """See `state.AuditStore.tail`."""
        if limit <= 0:
            return Page()
        months = await self._months(tenant_id)
        rows = _newest_first([self._rows(_NEWEST, tenant_id, month, *(before or END)) for month in months])
        return await self._page(rows, tenant_id, limit, max_bytes)

    async def of_user(
        self,
        tenant_id: str,
        user_id: str,
        *,
        limit: int = 100,
        before: AuditPlace | None = None,
        max_bytes: int = PAGE_BYTES,
    ) -> Page[AuditRow]:
        """See `state.AuditStore.of_user`."""
        if limit <= 0:
            return Page()
        months = await self._months(tenant_id)
        lists = [self._rows(_PLACES, tenant_id, user_id, month, *(before or END)) for month in months]
        rows = self._at_places(tenant_id, _newest_first(lists), at_once=min(limit + 1, _PLACES_A_READ))
        return await self._page(rows, tenant_id, limit, max_bytes)

    async def _page(self, rows: AsyncIterator[Any], tenant_id: str, limit: int, max_bytes: int) -> Page[AuditRow]:
        """A page of rows that come newest first."""
        found, taken = Page[AuditRow](), Taken[Any]((), max_bytes)
        async for row in rows:
            last = taken.last
            if len(found) >= limit or not taken.fits(row):
                found.next = last[:2] if last else None
                break
            found += decode_audit(self._codec, [row], tenant_id)
        found.reverse()
        return found

    async def _at_places(self, tenant_id: str, places: AsyncIterator[Any], *, at_once: int) -> AsyncIterator[Any]:
        """The rows at these positions, event ids and months, in this order. A row that was not written yet is left out."""
        more = True
        while more:
            wanted = list[Any]()
            while more and len(wanted) < at_once:
                place = await anext(places, None)
                more = place is not None
                wanted += [place] if more else []
            found: dict[Any, Any] = {}
            for month in {month for *_, month in wanted}:
                of_month = [tuple(place) for *place, at in wanted if at == month]
                async for row in self._rows(_AT_PLACES, tenant_id, month, of_month):
                    found[row[0], row[1]] = row
            for *place, _ in wanted:
                if (at := tuple(place)) in found:
                    yield found[at]

    async def _rows(self, query: Query, *parameters: Any) -> AsyncIterator[Any]:
        async for page in self._session.pages(query, *parameters):
            for row in page:
                yield row

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
        async for tenant, user, month in self._rows(_USER_KEYS):
            if tenant == tenant_id:
                await self._session.execute(_ERASE_OF_USER, tenant_id, user, month)

    async def erase_user(self, tenant_id: str, user_id: str) -> None:
        """See `state.AuditStore.erase_user`."""
        await rename_user(self, tenant_id, user_id)
        for month in await self._months(tenant_id):
            await self._session.execute(_ERASE_OF_USER, tenant_id, user_id, month)

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


def _batches(inserts: Sequence[Insert]) -> Iterator[list[Insert]]:
    """In groups that Cassandra takes as one mutation; it refuses one of more than 16 MiB (half a commit log segment)."""
    batch, size = list[Insert](), 0
    for insert in inserts:
        row = len(insert[1][-1])
        if batch and (len(batch) == _ROWS_A_BATCH or size + row > _BYTES_A_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(insert)
        size += row
    if batch:
        yield batch


def _user_batches(places: Sequence[tuple[Any, ...]]) -> Iterator[list[Insert]]:
    """Lines of users in few requests, though each user's are a partition: they are small, and most events name one of few."""
    batch, users = list[Insert](), set[tuple[Any, ...]]()
    for place in places:
        if len(batch) == _PLACES_A_BATCH or (place[:3] not in users and len(users) == _USERS_A_BATCH):
            yield batch
            batch, users = [], set()
        batch.append((_ADD_OF_USER, place))
        users.add(place[:3])
    if batch:
        yield batch


async def _newest_first(sources: Sequence[AsyncIterator[Any]]) -> AsyncIterator[Any]:
    """Rows that begin with position and event id, of several sources, each with the newest first, in that order."""
    heads = [(row, source) for source in sources if (row := await anext(source, None)) is not None]
    while heads:
        at = max(range(len(heads)), key=lambda n: heads[n][0][:2])
        row, source = heads[at]
        yield row
        following = await anext(source, None)
        heads[at : at + 1] = [] if following is None else [(following, source)]


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
