"""Turns at something that few may use at a time: those who wait come tenant by tenant, and within a tenant user by user.

A thousand of one tenant delay another's first one by a single turn, not by a thousand. Where nobody says whose
turn it is, such as at a store, it is that of whom the task serves (`serve`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

Item = TypeVar("Item")

_NOBODY = ("", "")
_served: ContextVar[tuple[str, str]] = ContextVar("served", default=_NOBODY)


def serve(tenant: str, user: str) -> None:
    """Says whom this task, and what it starts, works for."""
    _served.set((tenant, user))


def served() -> tuple[str, str]:
    """The tenant and user whom this task works for; empty names where it works for nobody of them."""
    return _served.get()


class Rotation(Generic[Item]):
    """A queue whose tenants take turns, as a tenant's users do; first in, first out within a user. Pure code."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, deque[Item]]] = {}
        """By tenant and user, each in the order in which they take turns."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, tenant: str, user: str, item: Item) -> None:
        """Queues an item behind those of its user."""
        self._waiting.setdefault(tenant, {}).setdefault(user, deque()).append(item)
        self._length += 1

    def take(self) -> Item:
        """The next item. Raises `IndexError` when there is none."""
        if not self._waiting:
            raise IndexError("nobody waits")
        tenant = next(iter(self._waiting))
        users = self._waiting.pop(tenant)
        user = next(iter(users))
        items = users.pop(user)
        item = items.popleft()
        if items:
            users[user] = items  # back at the end of the row: the others come first
        if users:
            self._waiting[tenant] = users
        self._length -= 1
        return item


class Turns:
    """At most `most` hold a turn at a time. Its methods belong to one event loop's thread."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._waiting: Rotation[asyncio.Future[None]] = Rotation()

    @property
    def waiting(self) -> int:
        """How many wait, those included that were cancelled meanwhile."""
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self, tenant: str, user: str = "") -> AsyncIterator[None]:
        """Holds a turn for the block."""
        await self.take(tenant, user)
        try:
            yield
        finally:
            self.give()

    async def take(self, tenant: str, user: str = "") -> None:
        """Waits for a turn, which lasts until `give`. Takes nothing when it is cancelled."""
        if self._left > 0:
            self._left -= 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put(tenant, user, mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give()  # it was handed over in the same moment
            raise

    def give(self) -> None:
        """Hands the turn to who waits, or keeps it for the next to come."""
        while self._waiting:
            mine = self._waiting.take()
            if not mine.done():
                mine.set_result(None)
                return
        self._left += 1
