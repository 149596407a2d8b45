"""What a store keeps of people, with how it is copied and erased."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from schemas import Holding


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a copy."""

    name: str
    """What it is, within its store: `threads/t1/messages/7`."""
    body: bytes
    """JSON; of the rows of a graph's state as the graph's room writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHolding(Holding):
    """Both functions take the store, the tenant, and the user; None for the tenant with all its users."""

    tables: tuple[str, ...]
    """The tables in both implementations."""
    copy: Callable[[Any, str, str | None], AsyncIterator[Piece]] | None = None
    """All that an export has."""
    erase: Callable[[Any, str, str | None, datetime], Awaitable[None]] | None = None
    """Removes it for good. What a repeated record is known by goes only if it is older than the time that is given."""


class ByUser(Protocol):
    """A store whose rows are a user's."""

    async def users(self, tenant_id: str) -> list[str]:
        """Users who have rows, by id."""
        ...

    async def erase(self, tenant_id: str, user_id: str) -> None:
        """Removes all rows of a user."""
        ...


async def users_of(store: ByUser, tenant_id: str, user_id: str | None) -> list[str]:
    """The user who is asked for, or all who have rows in the store."""
    return await store.users(tenant_id) if user_id is None else [user_id]


async def erase_by_user(store: ByUser, tenant_id: str, user_id: str | None, before: datetime) -> None:
    """See `StoreHolding.erase`: nothing in such a store is needed for repeats."""
    for user in await users_of(store, tenant_id, user_id):
        await store.erase(tenant_id, user)
