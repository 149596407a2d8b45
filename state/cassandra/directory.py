"""Tenants and users: see `state.Directory`."""

from __future__ import annotations

from schemas import Tenant, User
from state.cassandra.keyspace import Keyspace
from state.cassandra.outcome import decided
from state.cassandra.queries import Kind, Query
from state.stores.directory import (
    Directory,
    check_tenant_version,
    decode_tenant,
    decode_tenants,
    decode_user,
    decode_users,
)

_TENANT = Query(Kind.READ, "SELECT body FROM KEYSPACE.tenants WHERE tenant_id = ?")
_TENANTS = Query(Kind.READ, "SELECT tenant_id, body FROM KEYSPACE.tenants")
_DECIDED = Query(Kind.SERIAL_READ, "SELECT version, body FROM KEYSPACE.tenants WHERE tenant_id = ?")
_PUT_TENANT = Query(
    Kind.CONDITIONAL, "UPDATE KEYSPACE.tenants SET version = ?, body = ? WHERE tenant_id = ? IF version = ?"
)
_USER = Query(Kind.READ, "SELECT body FROM KEYSPACE.users WHERE tenant_id = ? AND user_id = ?")
_USERS = Query(Kind.READ, "SELECT user_id, body FROM KEYSPACE.users WHERE tenant_id = ?")
_REMOVE_USER = Query(Kind.WRITE, "DELETE FROM KEYSPACE.users WHERE tenant_id = ? AND user_id = ?")
_REMOVE_USERS = Query(Kind.WRITE, "DELETE FROM KEYSPACE.users WHERE tenant_id = ?")
_REMOVE_TENANT = Query(Kind.CONDITIONAL, "DELETE FROM KEYSPACE.tenants WHERE tenant_id = ? IF EXISTS")
_PUT_USER = Query(Kind.WRITE, "INSERT INTO KEYSPACE.users (tenant_id, user_id, body) VALUES (?, ?, ?)")


class CassandraDirectory(Directory):
    """Rows of JSON; a tenant's version stands beside it for the condition."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session, self._codec = keyspace.session, keyspace.codec

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """See `state.Directory.tenant`."""
        rows = await self._session.execute(_TENANT, tenant_id)
        return decode_tenant(self._codec, rows[0][0], tenant_id) if rows else None

    async def tenants(self) -> list[Tenant]:
        """See `state.Directory.tenants`."""
        pages = self._session.pages(_TENANTS)
        rows = [row async for page in pages for row in page]
        return sorted(decode_tenants(self._codec, rows), key=lambda tenant: tenant.tenant_id)

    async def put_tenant(self, tenant: Tenant, *, expected_version: int) -> bool:
        """See `state.Directory.put_tenant`."""
        check_tenant_version(tenant, expected_version)
        body = self._codec.encode(tenant.tenant_id, tenant.to_bytes())

        async def write() -> bool:
            values = (tenant.version, body, tenant.tenant_id, expected_version or None)
            (row,) = await self._session.execute(_PUT_TENANT, *values)
            return bool(row["[applied]"])

        async def look() -> bool | None:
            rows = await self._session.execute(_DECIDED, tenant.tenant_id)
            version, stored = rows[0] if rows else (0, None)
            if (version, stored) == (tenant.version, body):
                return True
            return None if version == expected_version else False

        return await decided(write, look)

    async def user(self, tenant_id: str, user_id: str) -> User | None:
        """See `state.Directory.user`."""
        rows = await self._session.execute(_USER, tenant_id, user_id)
        return decode_user(self._codec, rows[0][0], tenant_id, user_id) if rows else None

    async def users(self, tenant_id: str) -> list[User]:
        """See `state.Directory.users`."""
        pages = self._session.pages(_USERS, tenant_id)
        return list(decode_users(self._codec, [row async for page in pages for row in page], tenant_id))

    async def put_user(self, user: User) -> None:
        """See `state.Directory.put_user`."""
        body = self._codec.encode(user.tenant_id, user.to_bytes())
        await self._session.execute(_PUT_USER, user.tenant_id, user.user_id, body)

    async def remove_user(self, tenant_id: str, user_id: str) -> None:
        """See `state.Directory.remove_user`."""
        await self._session.execute(_REMOVE_USER, tenant_id, user_id)

    async def remove_tenant(self, tenant_id: str) -> None:
        """See `state.Directory.remove_tenant`."""
        await self._session.execute(_REMOVE_USERS, tenant_id)
        await self._session.execute(_REMOVE_TENANT, tenant_id)
