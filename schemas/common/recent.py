"""Small things that every room needs: what forgets its oldest entries, or those of a while ago, and pauses that grow."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(OrderedDict[Key, Value]):
    """The `limit` entries that were set last. `touch` makes one count as just set."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __setitem__(self, key: Key, value: Value) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        while len(self) > self._limit:
            self.popitem(last=False)

    def touch(self, key: Key) -> None:
        """Keeps an entry that was used."""
        self.move_to_end(key)


class Weighed(Generic[Key, Value]):
    """The entries that were set last: at most `limit`, and as many as have `most` bytes together, the newest in any case."""

    def __init__(self, limit: int, most: int, weigh: Callable[[Value], int]) -> None:
        """`weigh` gives the bytes of an entry, about, when it is set."""
        self._limit, self._most, self._weigh = limit, most, weigh
        self._kept: OrderedDict[Key, tuple[int, Value]] = OrderedDict()
        self.bytes = 0
        """The bytes of all entries."""

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Value | None:
        """The entry, which counts as just set."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][1]

    def set(self, key: Key, value: Value) -> None:
        """Keeps an entry; the oldest ones make room for it."""
        self.forget(key)
        size = self._weigh(value)
        self._kept[key] = (size, value)
        self.bytes += size
        while len(self._kept) > self._limit or (self.bytes > self._most and len(self._kept) > 1):
            self.forget(next(iter(self._kept)))

    def forget(self, key: Key) -> None:
        """Drops an entry, if it is there."""
        self.bytes -= self._kept.pop(key, (0, None))[0]


class TtlCache(Generic[Value]):
    """Keeps what `load` gave for `ttl` seconds, at most `size` of it; several askers share one load.

    A missing value (None) is kept as well, apart from the others and as many: whoever asks for what does not exist cannot push
    out what does. A load that fails is not kept, and its error reaches everybody who waited.
    """

    def __init__(self, *, ttl: float = 5.0, size: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl, self._clock = ttl, clock
        self._kept: Recent[Hashable, tuple[float, Value]] = Recent(size)
        self._missing: Recent[Hashable, tuple[float, Value]] = Recent(size)
        self._loading: dict[Hashable, asyncio.Future[Value]] = {}

    async def get(self, key: Hashable, load: Callable[[], Awaitable[Value]]) -> Value:
        """The kept value of `key`, or what `load` gives."""
        kept = self._kept.get(key) or self._missing.get(key)
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
            keep, drop = (self._missing, self._kept) if value is None else (self._kept, self._missing)
            keep[key] = (self._clock(), value)
            drop.pop(key, None)
            return value
        finally:
            del self._loading[key]


def pause_after(failures: int, first: float, most: float) -> float:
    """Seconds to wait after so many failures in a row: `first`, then twice as long each time, up to `most`."""
    return min(first * 2.0 ** min(failures - 1, 30), most)


class Backoff:
    """The pauses of one loop, as `pause_after` has them."""

    def __init__(self, first: float, most: float) -> None:
        self._failures, self._first, self._most = 0, first, most

    def next(self) -> float:
        """The pause that is due now."""
        self._failures += 1
        return pause_after(self._failures, self._first, self._most)
