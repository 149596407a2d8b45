"""Tenants and users as processors see them: read from the directory, kept for a few seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from schemas import Tenant, User
from schemas.recent import Recent
from state import Directory

Value = TypeVar("Value")


class TtlCache(Generic[Value]):
    """Keeps what `load` gave for `ttl` seconds, at most `size` of it; several askers share one load.

    A missing value is kept as well. A load that fails is not kept, and its error reaches everybody who waited.
    """

    def __init__(self, *, ttl: float = 5.0, size: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl, self._clock = ttl, clock
        self._kept: Recent[Hashable, tuple[float, Value]] = Recent(size)
        self._loading: dict[Hashable, asyncio.Future[Value]] = {}

    async def get(self, key: Hashable, load: Callable[[], Awaitable[Value]]) -> Value:
        """The kept value of `key`, or what `load` gives."""
        kept = self._kept.get(key)
        if kept and self._clock() < kept[0] + self._ttl:
            return kept[1]
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.ensure_future(self._load(key, load))
            loading.add_done_callback(lambda done: done.cancelled() or done.exception())
        # The load belongs to all who wait: one of them being cancelled must not end it.
        return await asyncio.shield(loading)

    async def _load(self, key: Hashable, load: Callable[[], Awaitable[Value]]) -> Value:
        try:
            value = await load()
            self._kept[key] = (self._clock(), value)
            return value
        finally:
            del self._loading[key]


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
