"""Threads as whoever erases them sees them: whose there are, and what is left of those that were deleted. See `state.Journal`."""

from __future__ import annotations

from datetime import datetime

from state.cassandra.partitions import of_tenant
from state.cassandra.promises import Promises
from state.cassandra.queries import Kind, Query
from state.stores.journal import decode_heads

HEAD_SEQ = 2**63 - 1
"""The number of the row that has the head: above that of any message."""

_OWNERS = Query(Kind.READ, "SELECT DISTINCT tenant_id, user_id FROM KEYSPACE.threads_by_user")
_THREADS = Query(Kind.READ, "SELECT DISTINCT tenant_id, thread_id FROM KEYSPACE.threads")
_HEAD = Query(
    Kind.READ,
    "SELECT body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? "
    f"AND kind = 1 AND seq = {HEAD_SEQ} AND id = ''",
)
_FORGET = Query(Kind.WRITE, "DELETE FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ?")
_FORGET_ACCEPTED = Query(Kind.WRITE, "DELETE FROM KEYSPACE.accepted_runs WHERE tenant_id = ? AND thread_id = ?")


class Leftovers(Promises):
    """Of all threads."""

    async def users(self, tenant_id: str) -> list[str]:
        """See `state.Journal.users`."""
        return await of_tenant(self._session, _OWNERS, tenant_id)

    async def ended(self, tenant_id: str, before: datetime) -> list[tuple[str, str]]:
        """See `state.Journal.ended`."""
        rows = [
            (thread_id, body)
            for thread_id in await of_tenant(self._session, _THREADS, tenant_id)
            for (body,) in await self._session.execute(_HEAD, tenant_id, thread_id)
        ]
        heads = decode_heads(self._codec, rows, tenant_id)
        return sorted((head.user_id, thread) for thread, head in heads if head.deleted and head.updated_at < before)

    async def forget(self, tenant_id: str, thread_id: str) -> None:
        """See `state.Journal.forget`."""
        await self._session.execute(_FORGET_ACCEPTED, tenant_id, thread_id)
        await self._session.execute(_FORGET, tenant_id, thread_id)
