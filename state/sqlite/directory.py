"""Tenants and users: see `state.Directory`."""

from __future__ import annotations

from schemas import Tenant, User
from state.sqlite.database import Database
from state.stores.directory import (
    Directory,
    check_tenant_version,
    decode_tenant,
    decode_tenants,
    decode_user,
    decode_users,
)

_TENANT = "SELECT body FROM tenants WHERE tenant_id = ?"
_TENANTS = "SELECT tenant_id, body FROM tenants ORDER BY tenant_id"
_CREATE_TENANT = "INSERT OR IGNORE INTO tenants (version, body, tenant_id) VALUES (?, ?, ?)"
_CHANGE_TENANT = "UPDATE tenants SET version = ?, body = ? WHERE tenant_id = ? AND version = ?"
_USER = "SELECT body FROM users WHERE tenant_id = ? AND user_id = ?"
_USERS = "SELECT user_id, body FROM users WHERE tenant_id = ? ORDER BY user_id"
_REMOVE_USER = "DELETE FROM users WHERE tenant_id = ? AND user_id = ?"
_REMOVE_TENANT = ("DELETE FROM users WHERE tenant_id = ?", "DELETE FROM tenants WHERE tenant_id = ?")
_PUT_USER = "INSERT OR REPLACE INTO users (tenant_id, user_id, body) VALUES (?, ?, ?)"


class SqliteDirectory(Directory):
    """Rows of JSON; a tenant's version stands beside it for the condition."""

    def __init__(self, database: Database) -> None:
        self._writer, self._readers = database.writer, database.readers
        self._codec = database.codec

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """See `state.Directory.tenant`."""
        row = await self._readers.run(lambda c: c.execute(_TENANT, (tenant_id,)).fetchone())
        return None if row is None else decode_tenant(self._codec, row[0], tenant_id)

    async def tenants(self) -> list[Tenant]:
        """See `state.Directory.tenants`."""
        rows = await self._readers.run(lambda c: c.execute(_TENANTS).fetchall())
        return list(decode_tenants(self._codec, rows))

    async def put_tenant(self, tenant: Tenant, *, expected_version: int) -> bool:
        """See `state.Directory.put_tenant`."""
        check_tenant_version(tenant, expected_version)
        body = self._codec.encode(tenant.tenant_id, tenant.to_bytes())
        values = (tenant.version, body, tenant.tenant_id)
        if expected_version == 0:
            return await self._writer.run(lambda c: c.execute(_CREATE_TENANT, values).rowcount == 1)
        return await self._writer.run(lambda c: c.execute(_CHANGE_TENANT, (*values, expected_version)).rowcount == 1)

    async def user(self, tenant_id: str, user_id: str) -> User | None:
        """See `state.Directory.user`."""
        row = await self._readers.run(lambda c: c.execute(_USER, (tenant_id, user_id)).fetchone())
        return None if row is None else decode_user(self._codec, row[0], tenant_id, user_id)

    async def users(self, tenant_id: str) -> list[User]:
        """See `state.Directory.users`."""
        rows = await self._readers.run(lambda c: c.execute(_USERS, (tenant_id,)).fetchall())
        return list(decode_users(self._codec, rows, tenant_id))

    async def put_user(self, user: User) -> None:
        """See `state.Directory.put_user`."""
        values = (user.tenant_id, user.user_id, self._codec.encode(user.tenant_id, user.to_bytes()))
        await self._writer.run(lambda c: c.execute(_PUT_USER, values))

    async def remove_user(self, tenant_id: str, user_id: str) -> None:
        """See `state.Directory.remove_user`."""
        await self._writer.run(lambda c: c.execute(_REMOVE_USER, (tenant_id, user_id)), erases=True)

    async def remove_tenant(self, tenant_id: str) -> None:
        """See `state.Directory.remove_tenant`."""
        await self._writer.run(
            lambda c: [c.execute(statement, (tenant_id,)) for statement in _REMOVE_TENANT], erases=True
        )
