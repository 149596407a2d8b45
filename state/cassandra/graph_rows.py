"""The rows of graphs' states: see `state.Journal`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from schemas import StateRow
from state.cassandra.leftovers import HEAD_SEQ, Leftovers
from state.cassandra.queries import Kind, Query
from state.cassandra.session import Rows
from state.journal_rows import decode_rows, following_row
from state.pages import PAGE_BYTES, Page, Taken, all_within, size_of
from state.spans import merged

_CHECKPOINTS = Query(
    Kind.READ,
    "SELECT seq, body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 4 AND seq < ? LIMIT ?",
)
_VALUES = Query(
    Kind.READ,
    "SELECT seq, body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 5 AND seq >= ? AND seq <= ?",
)


class GraphRows(Leftovers):
    """The rows of all threads."""

    async def checkpoints(
        self, tenant_id: str, thread_id: str, *, before: int | None = None, limit: int = 50, max_bytes: int = PAGE_BYTES
    ) -> Page[StateRow]:
        """See `state.Journal.checkpoints`."""
        if limit <= 0:
            return Page()
        wanted = (tenant_id, thread_id, HEAD_SEQ if before is None else before, limit)
        taken = Taken[Any]((), max_bytes)
        found: list[Any] = []
        async for page in self._session.pages(_CHECKPOINTS, *wanted):
            found += [row for row in page if not taken.full and taken.fits(row)]
            if taken.full:
                break
        rows = decode_rows(self._codec, "checkpoint", found, wanted[:2])
        return Page(rows, following_row(taken, limit - len(found)))

    async def values(
        self, tenant_id: str, thread_id: str, ranges: Sequence[tuple[int, int]], *, max_bytes: int | None = None
    ) -> list[StateRow]:
        """See `state.Journal.values`."""
        spans = merged(ranges)
        if max_bytes is None:
            read = await asyncio.gather(*(self._span(tenant_id, thread_id, span, None) for span in spans))
        else:
            read, left = [], max_bytes
            for span in spans:  # one after the other: each says how much is left
                read.append(await self._span(tenant_id, thread_id, span, left))
                left -= sum(size_of(row) for row in read[-1])
        found = sorted((row for span in read for row in span), key=itemgetter(0))
        return decode_rows(self._codec, "value", found, (tenant_id, thread_id))

    async def _span(self, tenant_id: str, thread_id: str, span: tuple[int, int], max_bytes: int | None) -> Rows:
        found: Rows = []
        async for page in self._session.pages(_VALUES, tenant_id, thread_id, *span):
            found += page
            list(all_within(found, max_bytes))
        return found
