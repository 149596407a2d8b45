"""Keyed lanes with fair shares: which queued item may start next. Pure code, no clock, no tasks.

One item of a lane runs at a time, in order. Tenants that have work take turns, and no tenant may hold more than its
share of the running records, so one that posts a thousand messages delays the others by one turn, not by a thousand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Lane(Generic[Item]):
    __slots__ = ("items", "key", "running", "tenant")

    def __init__(self, key: Hashable, tenant: str) -> None:
        self.key, self.tenant = key, tenant
        self.items: deque[Item] = deque()
        self.running = False


class Lanes(Generic[Item]):
    """Queues by key. `max_running` items run concurrently, at most `tenant_running` of them of one tenant."""

    def __init__(self, *, max_running: int, tenant_running: int) -> None:
        if max_running < 1 or tenant_running < 1:
            raise ValueError("at least one item must be able to run")
        self._max_running, self._tenant_running = max_running, tenant_running
        self._lanes: dict[Hashable, _Lane[Item]] = {}
        self._ready: dict[str, deque[_Lane[Item]]] = {}
        """By tenant, in the order in which tenants take turns: lanes that have items and none running."""
        self._running_of: dict[str, int] = {}
        self.queued = 0
        self.running = 0

    def put(self, key: Hashable, tenant: str, item: Item) -> None:
        """Queues an item behind those of its key. A key with items belongs to one tenant."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key, tenant)
        lane.items.append(item)
        self.queued += 1
        if not lane.running and len(lane.items) == 1:
            self._ready.setdefault(lane.tenant, deque()).append(lane)

    def take(self) -> tuple[Hashable, Item] | None:
        """The next item that may start, with its key; it runs until `done`. None when nothing may start now."""
        if self.running >= self._max_running:
            return None
        for tenant in self._ready:
            if self._running_of.get(tenant, 0) < self._tenant_running:
                break
        else:
            return None
        lanes = self._ready.pop(tenant)
        lane = lanes.popleft()
        if lanes:
            self._ready[tenant] = lanes  # back at the end of the row: the others come first
        lane.running = True
        self.queued -= 1
        self.running += 1
        self._running_of[tenant] = self._running_of.get(tenant, 0) + 1
        return lane.key, lane.items.popleft()

    def done(self, key: Hashable) -> None:
        """The running item of this key is over; the next one of the lane may start."""
        lane = self._lanes[key]
        lane.running = False
        self.running -= 1
        left = self._running_of[lane.tenant] - 1
        if left:
            self._running_of[lane.tenant] = left
        else:
            del self._running_of[lane.tenant]
        if lane.items:
            self._ready.setdefault(lane.tenant, deque()).append(lane)
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

    def _unready(self, lane: _Lane[Item]) -> None:
        ready = self._ready[lane.tenant]
        ready.remove(lane)
        if not ready:
            del self._ready[lane.tenant]
