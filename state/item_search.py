"""Searching items. No store can do it: items are read page by page, matched in pieces beside the event loop, and forgotten."""

from __future__ import annotations

import asyncio
import heapq
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Any

from schemas import contains
from state.pages import Page
from state.stores.items import BadItem, Item, ItemStore

MOST_FOUND = 10_000
"""Items that a search ranks: `offset` and `limit` reach no further."""
MOST_TERMS, LONGEST_QUERY = 50, 4_000
"""Terms of a query that count, and characters that they are looked for in: what is beyond has no say."""
_KEPT = 1_000
"""Bytes of a found item up to which it is kept while the others are read; larger ones are read again."""
_PIECE = 64 << 10
"""Bytes of items from which on they are matched in a thread of their own."""
_WORD = re.compile(r"\w+")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda a, b: a == b,
    "$ne": lambda a, b: a != b,
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


async def search_items(
    items: ItemStore,
    tenant_id: str,
    user_id: str,
    prefix: Sequence[str],
    *,
    conditions: Mapping[str, Any],
    query: str | None = None,
    limit: int,
    offset: int = 0,
    max_bytes: int | None = None,
) -> Page[tuple[Item, float | None]]:
    """Items below a prefix whose fields meet the conditions, the newest first, or ranked for a query by the share of its terms
    that they contain, which is given with each. `next` is the offset of what has no room. Raises `BadItem`."""
    if offset + limit > MOST_FOUND:
        raise BadItem(f"offset and limit of a search can be {MOST_FOUND:,} together, not {offset + limit:,}")
    ranking, piece, weight = _Ranking(conditions, query, offset + limit + 1), list[Item](), 0
    async for item in items.below(tenant_id, user_id, prefix):
        piece.append(item)
        weight += item.size
        if weight >= _PIECE:
            await asyncio.to_thread(ranking.look, piece)
            piece, weight = [], 0
    ranking.look(piece)
    found = ranking.best()
    page, left = Page[tuple[Item, float | None]](), max_bytes
    for place, (namespace, key, kept, score) in enumerate(found[offset : offset + limit], offset):
        there = kept or await items.get(tenant_id, user_id, namespace, key)
        if there is None:
            continue  # it is gone since
        if left is not None and page and there.size > left:
            page.next = place
            return page
        left = None if left is None else left - there.size
        page.append((there, score))
    page.next = offset + limit if len(found) > offset + limit else None
    return page


def matches(item: Item, conditions: Mapping[str, Any]) -> bool:
    """Whether the fields of its value are as a filter asks: contained (`contains`), or compared by `$eq $ne $gt $gte $lt $lte`.

    Raises `BadItem` for another operator.
    """
    return all(_holds(item.value.get(name), wanted) for name, wanted in conditions.items())


def _holds(value: Any, wanted: Any) -> bool:
    if not (isinstance(wanted, Mapping) and any(str(name).startswith("$") for name in wanted)):
        return contains(value, wanted)
    for name, other in wanted.items():
        if name not in _COMPARE:
            raise BadItem(f"a filter has no operator {name!r:.50}; there are {', '.join(_COMPARE)}")
        try:
            if not _COMPARE[name](value, other):
                return False
        except TypeError:
            return False
    return True


class _Ranking:
    """The best of the items that were looked at, so many of them."""

    def __init__(self, conditions: Mapping[str, Any], query: str | None, most: int) -> None:
        self._conditions, self._most = conditions, most
        self._wanted = None if not query else _terms(query)
        self._heap: list[tuple[float, datetime, int, tuple[tuple[str, ...], str, Item | None, float | None]]] = []
        self._numbers = count()

    def look(self, items: Sequence[Item]) -> None:
        """Ranks some more."""
        for item in items:
            score = 1.0 if self._wanted is None else self._score(item)
            if score > 0 and matches(item, self._conditions):
                kept = item if item.size <= _KEPT else None
                found = (item.namespace, item.key, kept, None if self._wanted is None else score)
                heapq.heappush(self._heap, (score, item.updated_at, -next(self._numbers), found))
                if len(self._heap) > self._most:
                    heapq.heappop(self._heap)

    def best(self) -> list[tuple[tuple[str, ...], str, Item | None, float | None]]:
        """The best first; of those that are equal the one that was read first."""
        return [entry[3] for entry in sorted(self._heap, key=lambda entry: entry[:3], reverse=True)]

    def _score(self, item: Item) -> float:
        if not self._wanted:
            return 0.0
        missing = set(self._wanted)
        for text in _texts(item.value):
            for word in _WORD.finditer(text.casefold()):  # in steps, so that other threads come in between
                missing.discard(word.group())
            if not missing:
                break
        return 1 - len(missing) / len(self._wanted)


def _terms(query: str) -> frozenset[str]:
    found = dict.fromkeys(_WORD.findall(query[:LONGEST_QUERY].casefold()))
    return frozenset(list(found)[:MOST_TERMS])


def _texts(value: Any) -> Sequence[str]:
    found, left = list[str](), [value]
    while left:
        part = left.pop()
        if isinstance(part, Mapping):
            left += part.values()
        elif isinstance(part, list | tuple):
            left += part
        else:
            found.append(str(part))
    return found
