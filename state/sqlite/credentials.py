"""Keys, sessions and one-time links: see `state.Credentials`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from state.micros import to_micros
from state.sqlite.database import Database
from state.stores.credentials import Credentials, decode_credential, decode_credentials

_PURGED_A_PUT = 8
_LAST = 2**63 - 1
"""Later than any time."""

_PUT = "INSERT OR REPLACE INTO credentials (tenant_id, kind, credential_id, body, expires_at) VALUES (?, ?, ?, ?, ?)"
_PURGE = """
DELETE FROM credentials WHERE (tenant_id, kind, credential_id) IN (
    SELECT tenant_id, kind, credential_id FROM credentials WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""
_GET = "SELECT body FROM credentials WHERE tenant_id = ? AND kind = ? AND credential_id = ? AND expires_at > ?"
_TAKE = """
DELETE FROM credentials WHERE tenant_id = ? AND kind = ? AND credential_id = ? AND expires_at > ? RETURNING body
"""
_LIST = """
SELECT credential_id, body FROM credentials WHERE tenant_id = ? AND kind = ? AND expires_at > ? ORDER BY credential_id
"""
_ERASE = "DELETE FROM credentials WHERE tenant_id = ? AND expires_at <= ?"
_KINDS = "SELECT DISTINCT kind FROM credentials WHERE tenant_id = ? ORDER BY kind"


class SqliteCredentials(Credentials):
    """Rows past their time are invisible; every `put` deletes a few of them."""

    def __init__(self, database: Database) -> None:
        self._writer, self._readers, self._now = database.writer, database.readers, database.now
        self._codec = database.codec

    async def put(self, tenant_id: str, kind: str, credential_id: str, body: bytes, *, expires: datetime) -> None:
        """See `state.Credentials.put`."""
        now = to_micros(self._now())
        row = (tenant_id, kind, credential_id, self._codec.encode(tenant_id, body), to_micros(expires))

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_PUT, row)
            connection.execute(_PURGE, (now, _PURGED_A_PUT))

        await self._writer.run(write)

    async def get(self, tenant_id: str, kind: str, credential_id: str) -> bytes | None:
        """See `state.Credentials.get`."""
        key = (tenant_id, kind, credential_id, to_micros(self._now()))
        row = await self._readers.run(lambda c: c.execute(_GET, key).fetchone())
        return None if row is None else decode_credential(self._codec, row[0], tenant_id, kind)

    async def take(self, tenant_id: str, kind: str, credential_id: str) -> bytes | None:
        """See `state.Credentials.take`."""
        key = (tenant_id, kind, credential_id, to_micros(self._now()))
        row = await self._writer.run(lambda c: c.execute(_TAKE, key).fetchone(), erases=True)
        return None if row is None else decode_credential(self._codec, row[0], tenant_id, kind)

    async def erase(self, tenant_id: str, *, expired: bool = False) -> None:
        """See `state.Credentials.erase`."""
        until = to_micros(self._now()) if expired else _LAST
        await self._writer.run(lambda c: c.execute(_ERASE, (tenant_id, until)), erases=True)

    async def kinds(self, tenant_id: str) -> Sequence[str]:
        """See `state.Credentials.kinds`."""
        return [kind for (kind,) in await self._readers.run(lambda c: c.execute(_KINDS, (tenant_id,)).fetchall())]

    async def list(self, tenant_id: str, kind: str) -> list[tuple[str, bytes]]:
        """See `state.Credentials.list`."""
        key = (tenant_id, kind, to_micros(self._now()))
        rows = await self._readers.run(lambda c: c.execute(_LIST, key).fetchall())
        return list(decode_credentials(self._codec, rows, tenant_id, kind))
