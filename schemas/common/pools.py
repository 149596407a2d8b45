"""Pools that tenants share: how much of one a tenant and a user may have, and what a full one loses first."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Shares:
    """Who has how much of a pool of `size` units.

    A share is a part of what is free: a user alone may have a quarter of all, a tenant half, and n tenants that take all they can
    leave 1 / (n + 1) for whoever comes next.
    """

    def __init__(self, size: int, *, of_user: float = 1 / 3, of_tenant: float = 1.0) -> None:
        self._size, self._parts = size, (of_user, of_tenant)
        self._had: Counter[tuple[str, str | None]] = Counter()
        """By tenant and user, and by tenant (None)."""
        self.taken = 0

    def has_room(self, tenant: str, user: str, units: int = 1) -> bool:
        """Whether so much more is within both shares. Who has nothing may have one thing of any size while some is free."""
        free = self._size - self.taken
        for whose, part in zip(_both(tenant, user), self._parts, strict=True):
            had = self._had[whose]
            if had + units > part * free and (had or free <= 0):
                return False
        return True

    def take(self, tenant: str, user: str, units: int = 1) -> None:
        """Counts what was taken, whether there was room or not."""
        self.taken += units
        for whose in _both(tenant, user):
            self._had[whose] += units

    def give(self, tenant: str, user: str, units: int = 1) -> None:
        """Counts what was returned."""
        self.taken -= units
        for whose in _both(tenant, user):
            self._had[whose] -= units
            if not self._had[whose]:
                del self._had[whose]


def _both(tenant: str, user: str) -> tuple[tuple[str, str | None], tuple[str, str | None]]:
    return (tenant, user), (tenant, None)


class SharedCache(Generic[Value]):
    """Keeps values by tenant and name, of `size` units in all. The tenant that has most loses what it touched the longest ago."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: dict[str, OrderedDict[bytes, tuple[Value, int]]] = {}
        self._units: Counter[str] = Counter()
        self.units = 0

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def get(self, tenant: str, name: bytes) -> Value | None:
        """The value of this name, if it is kept."""
        kept = self._kept.get(tenant)
        found = kept.get(name) if kept else None
        return found[0] if found else None

    def put(self, tenant: str, name: bytes, value: Value, units: int) -> None:
        """Keeps a value, or says how large it has become. It may be the one that there is no room for."""
        self.pop(tenant, name)
        self._kept.setdefault(tenant, OrderedDict())[name] = (value, units)
        self._count(tenant, units)
        while self.units > self._size:
            most = self._units.most_common(1)[0][0]
            self.pop(most, next(iter(self._kept[most])))

    def pop(self, tenant: str, name: bytes) -> Value | None:
        """Takes a value out."""
        kept = self._kept.get(tenant)
        if kept is None or name not in kept:
            return None
        value, units = kept.pop(name)
        self._count(tenant, -units)
        if not kept:
            del self._kept[tenant], self._units[tenant]
        return value

    def clear(self) -> None:
        """Forgets all."""
        self._kept.clear()
        self._units.clear()
        self.units = 0

    def _count(self, tenant: str, units: int) -> None:
        self.units += units
        self._units[tenant] += units
