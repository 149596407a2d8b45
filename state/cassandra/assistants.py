"""Assistants of hosted graphs: see `state.AssistantStore`. Laid out in `migrations/0003_graphs.cql`."""

from __future__ import annotations

from typing import Any

from state.cassandra.keyspace import Keyspace
from state.cassandra.outcome import decided
from state.cassandra.queries import Kind, Query
from state.pages import PAGE_BYTES, Page, Taken, Usage
from state.stores.assistants import (
    AssistantRow,
    AssistantStore,
    check_assistant_version,
    decode_assistant,
    decode_assistants,
)

_ASSISTANT = "tenant_id = ? AND kind = 0 AND assistant_id = ? AND version = 0"
_VERSION = "tenant_id = ? AND kind = 1 AND assistant_id = ? AND version = ?"

_GET = Query(Kind.READ, f"SELECT assistant_id, current, body FROM KEYSPACE.assistants WHERE {_ASSISTANT}")
_LIST = Query(
    Kind.READ,
    "SELECT assistant_id, current, body FROM KEYSPACE.assistants WHERE tenant_id = ? AND kind = 0 AND assistant_id > ?",
)
_COUNT = Query(Kind.READ, "SELECT count(newest) FROM KEYSPACE.assistants WHERE tenant_id = ? AND kind = 0")
_NEWEST = Query(Kind.READ, f"SELECT newest FROM KEYSPACE.assistants WHERE {_ASSISTANT}")
_BODY = Query(Kind.READ, f"SELECT body FROM KEYSPACE.assistants WHERE {_VERSION}")
_VERSIONS = Query(
    Kind.READ,
    "SELECT assistant_id, version, body FROM KEYSPACE.assistants "
    "WHERE tenant_id = ? AND kind = 1 AND assistant_id = ? AND version < ?",
)
_NO_VERSION = 2**31 - 1
_DECIDED = Query(Kind.SERIAL_READ, f"SELECT current FROM KEYSPACE.assistants WHERE {_ASSISTANT}")
_DECIDED_VERSION = Query(
    Kind.SERIAL_READ,
    "SELECT kind, newest, body FROM KEYSPACE.assistants WHERE tenant_id = ? "
    "AND (kind, assistant_id, version) IN ((0, ?, 0), (1, ?, ?))",
)
_ADVANCE = Query(
    Kind.CONDITIONAL,
    f"UPDATE KEYSPACE.assistants SET newest = ?, current = ?, body = ? WHERE {_ASSISTANT} IF newest = ?",
)
_ADD = Query(Kind.WRITE, f"UPDATE KEYSPACE.assistants SET body = ? WHERE {_VERSION}")
_IS_THERE = Query(Kind.CONDITIONAL, f"UPDATE KEYSPACE.assistants SET body = ? WHERE {_VERSION} IF body = ?")
_CHOOSE = Query(Kind.WRITE, f"UPDATE KEYSPACE.assistants SET current = ?, body = ? WHERE {_ASSISTANT}")
_DELETE = Query(Kind.CONDITIONAL, f"DELETE FROM KEYSPACE.assistants WHERE {_ASSISTANT} IF EXISTS")
_DELETE_VERSIONS = Query(
    Kind.WRITE, "DELETE FROM KEYSPACE.assistants WHERE tenant_id = ? AND kind = 1 AND assistant_id = ?"
)


class CassandraAssistants(AssistantStore):
    """An assistant's row has the body of its current version, so that one slice lists them all."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session, self._codec = keyspace.session, keyspace.codec

    async def put(self, tenant_id: str, row: AssistantRow, *, expected_version: int) -> bool:
        """See `state.AssistantStore.put`."""
        check_assistant_version(row, expected_version)
        key, version = (tenant_id, row.assistant_id), row.version
        body = self._codec.encode(tenant_id, row.body)

        async def write() -> bool:
            advance = (_ADVANCE, (version, version, body, *key, expected_version or None))
            rows = await self._session.execute_batch(Kind.CONDITIONAL, [advance, (_ADD, (body, *key, version))])
            return bool(rows[0]["[applied]"])

        async def look() -> bool | None:
            rows = await self._session.execute(_DECIDED_VERSION, *key, row.assistant_id, version)
            stored = {kind: (newest, body) for kind, newest, body in rows}
            if 1 in stored:
                return stored[1] == (None, body)
            newest = stored[0][0] if 0 in stored else 0
            return None if newest == expected_version else False

        return await decided(write, look)

    async def choose(self, tenant_id: str, assistant_id: str, version: int) -> bool:
        """See `state.AssistantStore.choose`."""
        key = (tenant_id, assistant_id)

        async def write() -> bool:
            while rows := await self._session.execute(_BODY, *key, version):
                # The version's row is rewritten unchanged: its condition ensures that the assistant was not deleted
                # or recreated since its body was read.
                body = rows[0][0]
                batch = [(_IS_THERE, (body, *key, version, body)), (_CHOOSE, (version, body, *key))]
                if (await self._session.execute_batch(Kind.CONDITIONAL, batch))[0]["[applied]"]:
                    return True
            return False

        async def look() -> bool | None:
            rows = await self._session.execute(_DECIDED, *key)
            return True if rows and rows[0][0] == version else None

        return await decided(write, look)

    async def get(self, tenant_id: str, assistant_id: str) -> AssistantRow | None:
        """See `state.AssistantStore.get`."""
        rows = await self._session.execute(_GET, tenant_id, assistant_id)
        return decode_assistant(self._codec, rows[0], tenant_id) if rows else None

    async def count(self, tenant_id: str) -> Usage:
        """See `state.AssistantStore.count`."""
        return Usage((await self._session.execute(_COUNT, tenant_id))[0][0])

    async def newest(self, tenant_id: str, assistant_id: str) -> int:
        """See `state.AssistantStore.newest`."""
        rows = await self._session.execute(_NEWEST, tenant_id, assistant_id)
        return rows[0][0] or 0 if rows else 0

    async def versions(
        self,
        tenant_id: str,
        assistant_id: str,
        *,
        before: int | None = None,
        limit: int = 100,
        max_bytes: int = PAGE_BYTES,
    ) -> Page[AssistantRow]:
        """See `state.AssistantStore.versions`."""
        wanted = (tenant_id, assistant_id, _NO_VERSION if before is None else before)
        return await self._page(_VERSIONS, wanted, 1, limit, max_bytes)

    async def delete(self, tenant_id: str, assistant_id: str) -> bool:
        """See `state.AssistantStore.delete`. Two callers may both get True when an answer is lost."""
        key = (tenant_id, assistant_id)

        async def write() -> bool:
            rows = await self._session.execute_batch(Kind.CONDITIONAL, [(_DELETE, key), (_DELETE_VERSIONS, key)])
            return bool(rows[0]["[applied]"])

        async def look() -> bool | None:
            return None if await self._session.execute(_DECIDED, *key) else True

        return await self.get(tenant_id, assistant_id) is not None and await decided(write, look)

    async def list(
        self, tenant_id: str, *, after: str | None = None, limit: int = 100, max_bytes: int = PAGE_BYTES
    ) -> Page[AssistantRow]:
        """See `state.AssistantStore.list`."""
        return await self._page(_LIST, (tenant_id, after or ""), 0, limit, max_bytes)

    async def _page(
        self, query: Query, wanted: tuple[Any, ...], place: int, limit: int, max_bytes: int
    ) -> Page[AssistantRow]:
        found, taken = Page[AssistantRow](), Taken[Any]((), max_bytes)
        async for page in self._session.pages(query, *wanted):
            for row in page:
                last = taken.last
                if len(found) >= limit or not taken.fits(row):
                    found.next = last[place] if last else None
                    return found
                found += decode_assistants(self._codec, [row], wanted[0])
        return found
