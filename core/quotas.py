"""Quotas: how much of each kind a user or a tenant may keep. A refusal names what is full, what is allowed and what to delete.

Counts are read from the store and known for a while; what is written here meanwhile is added to them, what other processes write
is not. A quota that seems to be full is counted again, so that whoever has deleted something can continue.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from core.principal import Principal
from core.refusals import Forbidden
from schemas.common.recent import Recent
from state import Stores, Usage

KNOWN_SECONDS, AGAIN_SECONDS = 60.0, 1.0
"""How long a count is known, and one that says that the quota is full."""
_USERS = 10_000
"""Counts that are known at a time."""


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """The numbers of `[quota]`."""

    threads: int = 10_000
    items: int = 10_000
    item_bytes: int = 64 << 20
    assistants: int = 1_000
    assistant_versions: int = 200
    assistant_bytes: int = 256 << 10


class Quotas:
    """Asked before something new is kept."""

    def __init__(
        self, stores: Stores, limits: QuotaLimits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stores, self._limits, self._clock = stores, limits or QuotaLimits(), clock
        self._known: Recent[Hashable, tuple[float, Usage, Usage]] = Recent(_USERS)
        """When it was counted, what was counted, and that with what was written here since."""

    async def thread(self, by: Principal) -> None:
        """A new thread of a user. Raises `Forbidden`."""
        most, who = self._limits.threads, (by.tenant_id, by.user_id)
        found = await self._usage(("threads", *who), lambda: self._stores.journal.count(*who), lambda u: u.rows >= most)
        if found.rows >= most:
            raise _full("threads", f"{most:,} threads", "Delete threads that you do not need any more.")
        self._add(("threads", *who), 1, 0)

    async def item(self, by: Principal, size: int, replaced: Callable[[], Awaitable[int | None]]) -> None:
        """A new value of an item, with so many bytes as JSON. `replaced` gives the bytes of what is in its place, None when that
        is free; it is asked only where there seems to be no room. Raises `Forbidden`."""
        rows, most, who = self._limits.items, self._limits.item_bytes, (by.tenant_id, by.user_id)

        def is_full(usage: Usage) -> bool:
            return usage.rows >= rows or usage.size + size > most

        found = await self._usage(("items", *who), lambda: self._stores.items.count(*who), is_full)
        if is_full(found):
            there = await replaced()
            if there is None or found.size - there + size > most:
                allowed = f"{rows:,} items with {most:,} bytes together; you have {found.rows:,} with {found.size:,}"
                raise _full("items", allowed, "Delete items that you do not need any more.")
        self._add(("items", *who), 1, size)

    def item_deleted(self, tenant_id: str, user_id: str) -> None:
        """There may be room again: a count that says that there is none is not relied on."""
        key = ("items", tenant_id, user_id)
        if found := self._known.get(key):
            at, counted, usage = found
            self._known[key] = (min(at, self._clock() - 2 * AGAIN_SECONDS), counted, usage)

    async def assistant(self, tenant_id: str) -> None:
        """A new assistant of a tenant. Raises `Forbidden`."""
        most, key = self._limits.assistants, ("assistants", tenant_id)
        found = await self._usage(key, lambda: self._stores.assistants.count(tenant_id), lambda u: u.rows >= most)
        if found.rows >= most:
            raise _full("assistants", f"{most:,} assistants in a tenant", "Delete some that nobody needs any more.")
        self._add(key, 1, 0)

    def version(self, version: int, size: int) -> None:
        """A version of an assistant, with so many bytes as JSON. Raises `Forbidden`."""
        if size > self._limits.assistant_bytes:
            allowed = f"{self._limits.assistant_bytes:,} bytes in an assistant, and this one would have {size:,}"
            raise _full("assistant_bytes", allowed, "Keep large data in the store, and its name in the assistant.")
        if version > self._limits.assistant_versions:
            allowed = f"{self._limits.assistant_versions:,} versions of an assistant"
            raise _full("assistant_versions", allowed, "Make a new assistant, and delete this one.")

    async def _usage(
        self, key: Hashable, count: Callable[[], Awaitable[Usage]], is_full: Callable[[Usage], bool]
    ) -> Usage:
        if found := self._known.get(key):
            at, counted, known = found
            age = self._clock() - at
            # What only seems to be full, since replaced items were added, is counted immediately.
            again = is_full(known) and (age > AGAIN_SECONDS or not is_full(counted))
            if age <= KNOWN_SECONDS and not again:
                return known
        counted = await count()
        self._known[key] = (self._clock(), counted, counted)
        return counted

    def _add(self, key: Hashable, rows: int, size: int) -> None:
        if found := self._known.get(key):
            at, counted, usage = found
            self._known[key] = (at, counted, Usage(usage.rows + rows, usage.size + size))


def _full(what: str, allowed: str, then: str) -> Forbidden:
    return Forbidden("quota_exceeded", f"There is no room for more: at most {allowed}. {then}", quota=what)
