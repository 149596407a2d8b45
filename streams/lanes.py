"""Keyed lanes with fair shares: which queued item may start next. Pure code, no clock, no tasks.

One item of a lane runs at a time, in order. Tenants that have work take turns, and so do a tenant's users. None of them may
hold more than its share of the running records: one that posts a thousand messages delays the others by one turn.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
_Whose = tuple[str, str | None]
"""A tenant, or one of its users."""


class _Lane(Generic[Item]):
    __slots__ = ("items", "key", "running", "tenant", "user")

    def __init__(self, key: Hashable, tenant: str, user: str) -> None:
        self.key, self.tenant, self.user = key, tenant, user
        self.items: deque[Item] = deque()
        self.running = False


class Lanes(Generic[Item]):
    """Queues by key. `max_running` items run concurrently, at most `tenant_running` of one tenant, `user_running` of one user."""

    def __init__(self, *, max_running: int, tenant_running: int, user_running: int) -> None:
        if max_running < 1 or tenant_running < 1 or user_running < 1:
            raise ValueError("at least one item must be able to run")
        self._max_running, self._tenant_running, self._user_running = max_running, tenant_running, user_running
        self._lanes: dict[Hashable, _Lane[Item]] = {}
        self._ready: dict[str, dict[str, deque[_Lane[Item]]]] = {}
        """By tenant and user, in the order in which they take turns: lanes that have items and none running."""
        self._running_of: Counter[_Whose] = Counter()
        self.queued = 0
        self.running = 0

    def put(self, key: Hashable, tenant: str, user: str, item: Item) -> None:
        """Queues an item behind those of its key. A key with items belongs to the tenant and user of the first of them."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key, tenant, user)
        lane.items.append(item)
        self.queued += 1
        if not lane.running and len(lane.items) == 1:
            self._line_up(lane)

    def take(self) -> tuple[Hashable, Item] | None:
        """The next item that may start, with its key; it runs until `done`. None when nothing may start now."""
        if self.running >= self._max_running or (found := self._next()) is None:
            return None
        tenant, user = found
        users = self._ready.pop(tenant)
        lanes = users.pop(user)
        lane = lanes.popleft()
        if lanes:
            users[user] = lanes  # back at the end of the row: the others come first
        if users:
            self._ready[tenant] = users
        lane.running = True
        self.queued -= 1
        self.running += 1
        self._running_of[tenant, None] += 1
        self._running_of[tenant, user] += 1
        return lane.key, lane.items.popleft()

    def done(self, key: Hashable) -> None:
        """The running item of this key is over; the next one of the lane may start."""
        lane = self._lanes[key]
        lane.running = False
        self.running -= 1
        for whose in ((lane.tenant, None), (lane.tenant, lane.user)):
            self._running_of[whose] -= 1
            if not self._running_of[whose]:
                del self._running_of[whose]
        if lane.items:
            self._line_up(lane)
        else:
            del self._lanes[key]

    def waiting(self, key: Hashable) -> Sequence[Item]:
        """The queued items of this key, the next one first."""
        lane = self._lanes.get(key)
        return tuple(lane.items) if lane else ()

    def drop(self, unwanted: Callable[[Item], bool]) -> list[Item]:
        """Removes and returns the queued items for which `unwanted` is true; running ones stay."""
        gone: list[Item] = []
        for lane in list(self._lanes.values()):
            kept = deque(item for item in lane.items if not unwanted(item))
            if len(kept) == len(lane.items):
                continue
            gone += [item for item in lane.items if unwanted(item)]
            lane.items = kept
            if not kept and not lane.running:
                self._unready(lane)
                del self._lanes[lane.key]
        self.queued -= len(gone)
        return gone

    def _next(self) -> tuple[str, str] | None:
        """The tenant and user whose turn it is, of those that have work and not all of their share."""
        for tenant, users in self._ready.items():
            if self._running_of[tenant, None] >= self._tenant_running:
                continue
            for user in users:
                if self._running_of[tenant, user] < self._user_running:
                    return tenant, user
        return None

    def _line_up(self, lane: _Lane[Item]) -> None:
        self._ready.setdefault(lane.tenant, {}).setdefault(lane.user, deque()).append(lane)

    def _unready(self, lane: _Lane[Item]) -> None:
        users = self._ready[lane.tenant]
        users[lane.user].remove(lane)
        if not users[lane.user]:
            del users[lane.user]
        if not users:
            del self._ready[lane.tenant]
