"""Tenants and users as processors see them: read from the directory, kept for a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas import Tenant, User
from schemas.common.recent import TtlCache
from state import Directory


class TenantCache:
    """Tenants by id."""

    def __init__(self, directory: Directory, *, ttl: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._cache: TtlCache[Tenant | None] = TtlCache(ttl=ttl, clock=clock)

    async def get(self, tenant_id: str) -> Tenant | None:
        """The tenant, at most `ttl` seconds old; None when there is none."""
        return await self._cache.get(tenant_id, lambda: self._directory.tenant(tenant_id))


class UserCache:
    """Users by tenant and id."""

    def __init__(self, directory: Directory, *, ttl: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._cache: TtlCache[User | None] = TtlCache(ttl=ttl, clock=clock)

    async def get(self, tenant_id: str, user_id: str) -> User | None:
        """The user, at most `ttl` seconds old; None when the directory has none."""
        return await self._cache.get((tenant_id, user_id), lambda: self._directory.user(tenant_id, user_id))
