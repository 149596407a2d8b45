"""Keys, sessions and one-time links: see `state.Credentials`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from schemas.common.clock import utc_now
from state.cassandra.keyspace import Keyspace
from state.cassandra.partitions import of_tenant
from state.cassandra.queries import Kind, Query
from state.stores.credentials import Credentials, decode_credential, decode_credentials

_PUT = Query(
    Kind.WRITE,
    "INSERT INTO KEYSPACE.credentials (tenant_id, kind, credential_id, body) VALUES (?, ?, ?, ?) USING TTL ?",
)
_GET = Query(Kind.READ, "SELECT body FROM KEYSPACE.credentials WHERE tenant_id = ? AND kind = ? AND credential_id = ?")
_TAKE = Query(
    Kind.CONDITIONAL,
    "DELETE FROM KEYSPACE.credentials WHERE tenant_id = ? AND kind = ? AND credential_id = ? IF EXISTS",
)
_KEYS = Query(Kind.READ, "SELECT DISTINCT tenant_id, kind FROM KEYSPACE.credentials")
_ERASE = Query(Kind.WRITE, "DELETE FROM KEYSPACE.credentials WHERE tenant_id = ? AND kind = ?")
_LIST = Query(Kind.READ, "SELECT credential_id, body FROM KEYSPACE.credentials WHERE tenant_id = ? AND kind = ?")

_LAST_EXPIRY = datetime(2038, 1, 1, tzinfo=UTC)
"""Cassandra cannot count further unless its whole cluster is configured to (CASSANDRA-14227); it refuses a later end of a row."""
_NO_TTL = 0


def ttl_until(expires: datetime | None) -> int:
    """Seconds for `USING TTL`; 0 for none, also where Cassandra could not count to the end."""
    if expires is None or expires >= _LAST_EXPIRY:
        return _NO_TTL
    return max(math.ceil((expires - utc_now()).total_seconds()), 1)


class CassandraCredentials(Credentials):
    """Rows with a time to live."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session, self._codec = keyspace.session, keyspace.codec

    async def put(self, tenant_id: str, kind: str, credential_id: str, body: bytes, *, expires: datetime) -> None:
        """See `state.Credentials.put`."""
        stored = self._codec.encode(tenant_id, body)
        await self._session.execute(_PUT, tenant_id, kind, credential_id, stored, ttl_until(expires))

    async def get(self, tenant_id: str, kind: str, credential_id: str) -> bytes | None:
        """See `state.Credentials.get`."""
        rows = await self._session.execute(_GET, tenant_id, kind, credential_id)
        return decode_credential(self._codec, rows[0][0], tenant_id, kind) if rows else None

    async def take(self, tenant_id: str, kind: str, credential_id: str) -> bytes | None:
        """See `state.Credentials.take`. A lost answer raises `OutcomeUnknown`: nobody gets it then."""
        body = await self.get(tenant_id, kind, credential_id)
        if body is None:
            return None
        (row,) = await self._session.execute(_TAKE, tenant_id, kind, credential_id)
        return body if row["[applied]"] else None

    async def erase(self, tenant_id: str, *, expired: bool = False) -> None:
        """See `state.Credentials.erase`. Cassandra itself removes what has expired."""
        for kind in () if expired else await self.kinds(tenant_id):
            await self._session.execute(_ERASE, tenant_id, kind)

    async def kinds(self, tenant_id: str) -> Sequence[str]:
        """See `state.Credentials.kinds`."""
        return await of_tenant(self._session, _KEYS, tenant_id)

    async def list(self, tenant_id: str, kind: str) -> list[tuple[str, bytes]]:
        """See `state.Credentials.list`."""
        rows = [row async for page in self._session.pages(_LIST, tenant_id, kind) for row in page]
        return list(decode_credentials(self._codec, rows, tenant_id, kind))
