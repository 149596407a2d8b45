"""What is known of a thread beside its journal: runs that were accepted, inputs that have no turn yet. See `state.Journal`."""

from __future__ import annotations

import asyncio
import math

from schemas import AcceptedRun, OpenInput
from schemas.common.clock import utc_now
from state.cassandra.keyspace import Keyspace
from state.cassandra.queries import Kind, Query
from state.cassandra.session import Rows, Session
from state.stores.journal import OPEN_TTL, decode_accepted, decode_opened, kept_from

_ACCEPT = Query(
    Kind.WRITE,
    "INSERT INTO KEYSPACE.accepted_runs (tenant_id, thread_id, run_id, body) VALUES (?, ?, ?, ?) USING TTL ?",
)
_ACCEPTED = Query(Kind.READ, "SELECT run_id, body FROM KEYSPACE.accepted_runs WHERE tenant_id = ? AND thread_id = ?")
_ONE_ACCEPTED = Query(
    Kind.READ, "SELECT run_id, body FROM KEYSPACE.accepted_runs WHERE tenant_id = ? AND thread_id = ? AND run_id = ?"
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
_UNACCEPT = Query(Kind.WRITE, "DELETE FROM KEYSPACE.accepted_runs WHERE tenant_id = ? AND thread_id = ? AND run_id = ?")
_LIST_AS_BUSY = Query(
    Kind.WRITE,
    "UPDATE KEYSPACE.threads_by_user SET status = 'busy' WHERE tenant_id = ? AND user_id = ? AND thread_id = ?",
)


class Promises:
    """The promises of all threads."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session, self._codec = keyspace.session, keyspace.codec
        self._ttl = math.ceil(keyspace.input_ttl)

    async def accept(self, tenant_id: str, thread_id: str, run: AcceptedRun) -> None:
        """See `state.Journal.accept`."""
        now, body = utc_now(), self._codec.encode(tenant_id, run.to_bytes())
        ttl = self._ttl + math.ceil((kept_from(run, now) - now).total_seconds())
        await self._session.execute(_ACCEPT, tenant_id, thread_id, run.run_id, body, ttl)

    async def accepted(self, tenant_id: str, thread_id: str, *, run_id: str | None = None) -> list[AcceptedRun]:
        """See `state.Journal.accepted`."""
        rows = await all_or_one(self._session, _ACCEPTED, _ONE_ACCEPTED, tenant_id, thread_id, run_id)
        return decode_accepted(self._codec, rows, (tenant_id, thread_id), run_id=run_id)

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


async def all_or_one(
    session: Session, all_of_them: Query, one: Query, tenant_id: str, thread_id: str, run_id: str | None
) -> Rows:
    """All rows of a thread, or the one of this id."""
    if run_id is not None:
        return await session.execute(one, tenant_id, thread_id, run_id)
    return [row async for page in session.pages(all_of_them, tenant_id, thread_id) for row in page]
