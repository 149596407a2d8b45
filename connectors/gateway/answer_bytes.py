"""How large answers may be: a list ends before its answer has more bytes than this, and says that there is more."""

from __future__ import annotations

ANSWER_BYTES = 2 << 20
"""Bytes of a list in an answer, about: twenty answers at a time fit into the 64 MiB that they may add to a gateway."""


class Allowance:
    """Counts the bytes of an answer. Its first entry fits whatever its size: else a list would end there."""

    def __init__(self, most: int = ANSWER_BYTES) -> None:
        self._most, self._taken = most, 0

    def has_room(self, size: int) -> bool:
        """Whether an entry of so many bytes fits."""
        return not self._taken or self._taken + size <= self._most

    def takes(self, size: int) -> bool:
        """Whether an entry of so many bytes fits; if so, it is counted."""
        if not self.has_room(size):
            return False
        self._taken += max(size, 1)
        return True
