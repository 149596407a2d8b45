"""Pages: what the list of a store gives at a time, bounded by rows and by bytes where the rows are read."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

from schemas import TooLarge

PAGE_BYTES = 1 << 20
"""Bytes of stored bodies in a page, unless the caller asks for another number: what a gateway can have of a hundred readers at a
time."""

T = TypeVar("T")
Row = TypeVar("Row", bound=Sequence[Any])


@dataclass(frozen=True, slots=True)
class Usage:
    """How many rows of a kind there are, and how many bytes they have where a quota asks for that."""

    rows: int
    size: int = 0


class Page(list[T]):
    """Rows of a list. Rows that cannot be read are left out, so that a page may be short or empty without being the last one."""

    def __init__(self, found: Iterable[T] = (), following: Any = None) -> None:
        super().__init__(found)
        self.next = following
        """What the next page is asked for with; None at the end of the list."""


def paged(
    rows: Iterable[Row],
    decode: Callable[[list[Row]], Iterator[T]],
    *,
    limit: int,
    max_bytes: int,
    place: Callable[[Row], Any],
) -> Page[T]:
    """A page of rows that are read one by one. Its first row may be larger than the page: else a list would end there."""
    page, weight, last = Page[T](), 0, None
    if limit <= 0:
        return page
    for row in rows:
        size = size_of(row)
        if len(page) >= limit or (weight and weight + size > max_bytes):
            page.next = last
            break
        weight, last = weight + size, place(row)
        page.extend(decode([row]))
    return page


def all_within(rows: Iterable[Row], max_bytes: int | None) -> Iterator[Row]:
    """All rows, which are of use together only. Raises `TooLarge` as soon as they have more bytes."""
    weight = 0
    for row in rows:
        weight += size_of(row)
        if max_bytes is not None and weight > max_bytes:
            raise TooLarge(f"the state of the thread has more than the {max_bytes:,} bytes that one answer shows")
        yield row


def size_of(row: Sequence[Any]) -> int:
    """Bytes of a row's texts and bodies, about."""
    return 1 + sum(len(cell) for cell in row if isinstance(cell, (str, bytes)))


class Taken(Generic[Row]):
    """Rows while their bytes fit, the first one in any case; and what was taken of them."""

    def __init__(self, rows: Iterable[Row], max_bytes: int | None) -> None:
        self._rows, self._left = iter(rows), max_bytes
        self.last: Row | None = None
        """The last one that was taken."""
        self.full = False
        """Whether one did not fit."""

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        if self.full:
            raise StopIteration
        row = next(self._rows)
        if not self.fits(row):
            raise StopIteration
        return row

    def fits(self, row: Row) -> bool:
        """Whether there is room for a row that was read elsewhere; if so, it is taken."""
        if self._left is not None:
            size = size_of(row)
            if self.last is not None and size > self._left:
                self.full = True
                return False
            self._left -= size
        self.last = row
        return True


class Newest(Generic[T]):
    """The page with the highest places of rows that come in any order: no more is kept while the others are read."""

    def __init__(self, limit: int, max_bytes: int) -> None:
        self._limit, self._max_bytes = max(limit, 0), max_bytes
        self._heap: list[tuple[Any, int, int, T]] = []
        self._weight, self._numbers = 0, count()
        self._left_out: Any = None
        """The highest place that has no room."""

    def add(self, place: Any, value: T, size: int) -> None:
        """Keeps a row, unless those of the page are all higher."""
        if self._left_out is not None and place <= self._left_out:
            return
        heapq.heappush(self._heap, (place, next(self._numbers), size, value))
        self._weight += size
        while self._heap and (
            len(self._heap) > self._limit or (self._weight > self._max_bytes and len(self._heap) > 1)
        ):
            self._left_out, _, size, _ = heapq.heappop(self._heap)
            self._weight -= size

    def page(self) -> Page[T]:
        """The rows by their places, the lowest first; the next page is that of the places below the first one."""
        found = sorted(self._heap, key=lambda kept: kept[:2])
        following = found[0][0] if found and self._left_out is not None else None
        return Page((kept[3] for kept in found), following)
