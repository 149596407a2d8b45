"""Runs of a thread, accepted and over, and inputs that have no turn yet. See `state.Journal`."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Collection

from schemas import AcceptedRun, OpenInput, StoredRun
from schemas.common.clock import utc_now
from state.cassandra.keyspace import Keyspace
from state.cassandra.queries import Kind, Query
from state.journal_rows import accepted_values, decode_accepted, decode_opened, decode_promises, decode_runs
from state.pages import PAGE_BYTES, Newest, Page, size_of
from state.stores.journal import OPEN_TTL, kept_from

MOST_IN = 100
"""Ids that one statement names."""

_ACCEPT = Query(
    Kind.WRITE,
    "INSERT INTO KEYSPACE.accepted_runs (tenant_id, thread_id, run_id, body, details) VALUES (?, ?, ?, ?, ?) USING TTL ?",
)
_ONE = "KEYSPACE.accepted_runs WHERE tenant_id = ? AND thread_id = ? AND run_id = ?"
_ACCEPTED = Query(Kind.READ, f"SELECT run_id, body, details FROM {_ONE}")
_PROMISE = Query(Kind.READ, f"SELECT run_id, body FROM {_ONE}")
_PROMISES = Query(
    Kind.READ, "SELECT run_id, body FROM KEYSPACE.accepted_runs WHERE tenant_id = ? AND thread_id = ? AND run_id IN ?"
)
_ACCEPTED_IDS = Query(
    Kind.READ,
    "SELECT TTL(body), WRITETIME(body), run_id FROM KEYSPACE.accepted_runs WHERE tenant_id = ? AND thread_id = ?",
)
_ANNOUNCE = Query(
    Kind.WRITE,
    "INSERT INTO KEYSPACE.threads (tenant_id, thread_id, kind, seq, id, body) VALUES (?, ?, 6, 0, ?, ?) USING TTL ?",
)
_OPEN = Query(Kind.READ, "SELECT id, body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 6")
CLOSE = Query(
    Kind.WRITE, "DELETE FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 6 AND seq = 0 AND id = ?"
)
CLOSE_ALL = Query(Kind.WRITE, "DELETE FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 6")
_PROCESSED = Query(Kind.READ, "SELECT id FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 0")
EMPTY_INPUT = Query(
    Kind.WRITE,
    "UPDATE KEYSPACE.threads USING TTL ? SET body = ? "
    "WHERE tenant_id = ? AND thread_id = ? AND kind = 0 AND seq = 0 AND id = ?",
)
_UNACCEPT = Query(Kind.WRITE, "DELETE FROM KEYSPACE.accepted_runs WHERE tenant_id = ? AND thread_id = ? AND run_id = ?")
_LIST_AS_BUSY = Query(
    Kind.WRITE,
    "UPDATE KEYSPACE.threads_by_user SET status = 'busy' WHERE tenant_id = ? AND user_id = ? AND thread_id = ?",
)

_RUNS = Query(Kind.READ, "SELECT id, body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 3")
_ONE_RUN = Query(
    Kind.READ,
    "SELECT id, body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 3 AND seq = 0 AND id = ?",
)
_ENDED = Query(
    Kind.READ,
    "SELECT id FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 3 AND seq = 0 AND id IN ?",
)


class Promises:
    """The promises of all threads."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session, self._codec = keyspace.session, keyspace.codec
        self._ttl = math.ceil(keyspace.input_ttl)

    async def accept(self, tenant_id: str, thread_id: str, run: AcceptedRun) -> None:
        """See `state.Journal.accept`."""
        now, (body, details) = utc_now(), accepted_values(self._codec, tenant_id, run)
        ttl = self._ttl + math.ceil((kept_from(run, now) - now).total_seconds())
        await self._session.execute(_ACCEPT, tenant_id, thread_id, run.run_id, body, details, ttl)

    async def accepted(
        self, tenant_id: str, thread_id: str, *, run_id: str, details: bool = True
    ) -> AcceptedRun | None:
        """See `state.Journal.accepted`."""
        key = (tenant_id, thread_id)
        rows = await self._session.execute(_ACCEPTED if details else _PROMISE, *key, run_id)
        if not rows:
            return None
        run = decode_accepted(self._codec, rows[0] if details else (*rows[0], None), key)
        return run if details else run.model_copy(update={"details": {}})

    async def accepted_ids(self, tenant_id: str, thread_id: str, *, limit: int = 1000) -> list[str]:
        """See `state.Journal.accepted_ids`."""
        newest: list[tuple[int, int, str]] = []  # one page at a time: there may be many more
        async for page in self._session.pages(_ACCEPTED_IDS, tenant_id, thread_id):
            newest = heapq.nlargest(max(limit, 0), [*newest, *((ttl or 0, at, run) for ttl, at, run in page)])
        return [run_id for _, _, run_id in newest]

    async def promises(
        self, tenant_id: str, thread_id: str, run_ids: Collection[str], *, max_bytes: int = PAGE_BYTES
    ) -> list[AcceptedRun]:
        """See `state.Journal.promises`."""
        found, weight, wanted = list[AcceptedRun](), 0, list(run_ids)
        for n in range(0, len(wanted), MOST_IN):
            async for page in self._session.pages(_PROMISES, tenant_id, thread_id, wanted[n : n + MOST_IN]):
                found += decode_promises(self._codec, page, (tenant_id, thread_id))
                weight += sum(size_of(row) for row in page)
                if weight > max_bytes:
                    return found
        return found

    async def runs(
        self,
        tenant_id: str,
        thread_id: str,
        *,
        run_id: str | None = None,
        before: int | None = None,
        limit: int = 100,
        max_bytes: int = PAGE_BYTES,
    ) -> Page[StoredRun]:
        """See `state.Journal.runs`."""
        key = (tenant_id, thread_id)
        if run_id is not None:
            rows = await self._session.execute(_ONE_RUN, *key, run_id)
            return Page(decode_runs(self._codec, rows, key, run_id=run_id))
        newest = Newest[StoredRun](limit, max_bytes)
        async for page in self._session.pages(_RUNS, *key):
            for row in page:
                for run in decode_runs(self._codec, [row], key, run_id=None):
                    if before is None or run.last_event < before:
                        newest.add(run.last_event, run, size_of(row))
        return newest.page()

    async def ended(self, tenant_id: str, thread_id: str, run_ids: Collection[str]) -> set[str]:
        """See `state.Journal.ended`."""
        wanted, found = list(run_ids), set[str]()
        for n in range(0, len(wanted), MOST_IN):
            rows = await self._session.execute(_ENDED, tenant_id, thread_id, wanted[n : n + MOST_IN])
            found |= {run_id for (run_id,) in rows}
        return found

    async def processed(self, tenant_id: str, thread_id: str) -> list[str]:
        """The ids of the inputs of a thread whose outputs are kept."""
        pages = self._session.pages(_PROCESSED, tenant_id, thread_id)
        return [input_id async for page in pages for (input_id,) in page]

    async def announce(self, tenant_id: str, thread_id: str, given: OpenInput) -> None:
        """See `state.Journal.announce`."""
        body = self._codec.encode(tenant_id, given.to_bytes())
        await self._session.execute(_ANNOUNCE, tenant_id, thread_id, given.input_id, body, OPEN_TTL)
        if given.begun:
            await self._session.execute(_LIST_AS_BUSY, tenant_id, given.user_id, thread_id)

    async def withdraw(self, tenant_id: str, thread_id: str, input_id: str) -> None:
        """See `state.Journal.withdraw`."""
        key = (tenant_id, thread_id, input_id)
        await asyncio.gather(self._session.execute(CLOSE, *key), self._session.execute(_UNACCEPT, *key))

    async def open_inputs(self, tenant_id: str, thread_id: str) -> list[OpenInput]:
        """See `state.Journal.open_inputs`."""
        rows = await self._session.execute(_OPEN, tenant_id, thread_id)
        return decode_opened(self._codec, rows, (tenant_id, thread_id))
