"""Threads as whoever erases them sees them: whose there are, and what is left of those that were deleted. See `state.Journal`."""

from __future__ import annotations

from collections.abc import Collection

from state.cassandra.partitions import of_tenant
from state.cassandra.promises import Promises
from state.cassandra.queries import Kind, Query
from state.journal_rows import decode_heads
from state.stores.journal import OwnedThread

HEAD_SEQ = 2**63 - 1
"""The number of the row that has the head: above that of any message."""

_OWNERS = Query(Kind.READ, "SELECT DISTINCT tenant_id, user_id FROM KEYSPACE.threads_by_user")
_THREADS = Query(Kind.READ, "SELECT DISTINCT tenant_id, thread_id FROM KEYSPACE.threads")
_HEAD = Query(
    Kind.READ,
    "SELECT body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? "
    f"AND kind = 1 AND seq = {HEAD_SEQ} AND id = ''",
)
_VERSION = Query(Kind.READ, "SELECT version FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? LIMIT 1")
_NEWEST_EVENT = Query(
    Kind.READ, "SELECT seq FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 2 LIMIT 1"
)
_LINES = Query(
    Kind.READ, "SELECT thread_id, created_at FROM KEYSPACE.threads_by_user WHERE tenant_id = ? AND user_id = ?"
)
_LINE = Query(
    Kind.READ,
    "SELECT created_at FROM KEYSPACE.threads_by_user WHERE tenant_id = ? AND user_id = ? AND thread_id = ?",
)
UNLIST = Query(Kind.WRITE, "DELETE FROM KEYSPACE.threads_by_user WHERE tenant_id = ? AND user_id = ? AND thread_id = ?")
_FORGET = Query(Kind.WRITE, "DELETE FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ?")
FORGET_ACCEPTED = Query(Kind.WRITE, "DELETE FROM KEYSPACE.accepted_runs WHERE tenant_id = ? AND thread_id = ?")


class Leftovers(Promises):
    """The promises of all threads."""

    async def numbers(self, tenant_id: str, thread_id: str) -> tuple[int, int]:
        """See `state.Journal.numbers`."""
        # The version first: events that come after it make the commit that names it fail.
        versions = await self._session.execute(_VERSION, tenant_id, thread_id)
        events = await self._session.execute(_NEWEST_EVENT, tenant_id, thread_id)
        return (versions[0][0] or 0) if versions else 0, events[0][0] if events else 0

    async def lists(self, tenant_id: str, user_id: str, thread_id: str) -> bool:
        """See `state.Journal.lists`."""
        rows = await self._session.execute(_LINE, tenant_id, user_id, thread_id)
        return bool(rows) and rows[0][0] is not None

    async def owned(self, tenant_id: str) -> list[OwnedThread]:
        """See `state.Journal.owned`. The head says whose a thread is, and the lists where it cannot be read."""
        rows = [
            (thread_id, body)
            for thread_id in await of_tenant(self._session, _THREADS, tenant_id)
            for (body,) in await self._session.execute(_HEAD, tenant_id, thread_id)
        ]
        heads = dict(decode_heads(self._codec, rows, tenant_id))
        found = [OwnedThread(h.user_id, thread, h.updated_at if h.deleted else None) for thread, h in heads.items()]
        if unread := {thread for thread, _ in rows} - heads.keys():
            lines = await self._listed(tenant_id, None)
            owners = {thread: user for user, thread, created_at in lines if created_at is not None}
            found += [OwnedThread(owners.get(thread, ""), thread) for thread in unread]
        return sorted(found, key=lambda thread: (thread.user_id, thread.thread_id))

    async def unlist(self, tenant_id: str, user_id: str | None, keep: Collection[str]) -> None:
        """See `state.Journal.unlist`."""
        for user, thread_id, _ in await self._listed(tenant_id, user_id):
            if thread_id not in keep and not await self._begun(tenant_id, thread_id):
                await self._session.execute(UNLIST, tenant_id, user, thread_id)

    async def _begun(self, tenant_id: str, thread_id: str) -> bool:
        """Whether there is a thread that is not deleted; one whose head cannot be read is taken for one."""
        rows = [(thread_id, body) for (body,) in await self._session.execute(_HEAD, tenant_id, thread_id)]
        heads = dict(decode_heads(self._codec, rows, tenant_id))
        return bool(rows) and not (heads and heads[thread_id].deleted)

    async def _listed(self, tenant_id: str, user_id: str | None) -> list[tuple[str, str, int | None]]:
        """Users, ids and times of creation in the lists; None for a row that says only that its thread is busy."""
        users = await of_tenant(self._session, _OWNERS, tenant_id) if user_id is None else [user_id]
        return [
            (user, *row)
            for user in users
            for page in [page async for page in self._session.pages(_LINES, tenant_id, user)]
            for row in page
        ]

    async def forget(self, tenant_id: str, thread_id: str) -> None:
        """See `state.Journal.forget`."""
        await self._session.execute(FORGET_ACCEPTED, tenant_id, thread_id)
        await self._session.execute(_FORGET, tenant_id, thread_id)
