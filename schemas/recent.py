"""Two small things that every room needs: a mapping that forgets its oldest entries, and pauses that grow."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

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


class Backoff:
    """Seconds to wait before the next try: twice as long each time, up to `most`."""

    def __init__(self, first: float, most: float) -> None:
        self._seconds, self._most = first, most

    def next(self) -> float:
        """The pause that is due now."""
        seconds = self._seconds
        self._seconds = min(2 * seconds, self._most)
        return seconds
