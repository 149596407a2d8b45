"""Items: JSON values that agents and clients keep for a user, by namespace and key, as LangGraph's stores have them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from schemas import CauceError, contains
from state.codec import Codec
from state.keeping import Piece, StoreHolding, erase_by_user, users_of
from state.micros import from_micros
from state.readable import json_object, read, readable

MOST_LABELS = 10
LONGEST_LABEL = 200
LONGEST_KEY = 512
_WORD = re.compile(r"\w+")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda a, b: a == b,
    "$ne": lambda a, b: a != b,
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


class BadItem(CauceError):
    """A namespace, a key or a filter that is not valid; the text says why."""


@dataclass(frozen=True, slots=True)
class Item:
    """One value."""

    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    def is_below(self, prefix: Sequence[str]) -> bool:
        """Whether its namespace begins with these labels."""
        return self.namespace[: len(prefix)] == tuple(prefix)


class ItemStore(Protocol):
    """JSON values that agents and clients keep for a user, by namespace and key. All of them raise `BadItem`."""

    async def put(
        self,
        tenant_id: str,
        user_id: str,
        namespace: Sequence[str],
        key: str,
        value: dict[str, Any],
        *,
        expires: datetime | None = None,
    ) -> None:
        """Stores or replaces one; it keeps the time at which it was first made. It is gone at `expires`."""
        ...

    async def get(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> Item | None:
        """One that has not expired."""
        ...

    async def delete(self, tenant_id: str, user_id: str, namespace: Sequence[str], key: str) -> None:
        """Removes one, if it is there."""
        ...

    def below(self, tenant_id: str, user_id: str, prefix: Sequence[str]) -> AsyncIterator[Item]:
        """The user's items whose namespaces begin with these labels, by namespace and key."""
        ...

    async def users(self, tenant_id: str) -> list[str]:
        """Users who have items, by id. Cassandra reads the keys of all tenants for it."""
        ...

    async def erase(self, tenant_id: str, user_id: str) -> None:
        """Removes all items of a user."""
        ...


def decode_items(codec: Codec, rows: Iterable[Sequence[Any]], tenant_id: str, user_id: str) -> Iterator[Item]:
    """Items from rows of namespace, key, body and two times."""
    return readable(rows, partial(_item, codec, tenant_id), lambda row: _name(tenant_id, user_id, row))


def decode_item(codec: Codec, row: Sequence[Any], tenant_id: str, user_id: str) -> Item:
    """One of them. Raises `UnreadableRow`."""
    return read(_name(tenant_id, user_id, row), lambda: _item(codec, tenant_id, row))


def _item(codec: Codec, tenant_id: str, row: Sequence[Any]) -> Item:
    namespace, key, body, created, updated = row
    value = json_object(codec.decode(tenant_id, body))
    return Item(tuple(namespace.split(".")), key, value, from_micros(created), from_micros(updated))


def _name(tenant_id: str, user_id: str, row: Sequence[Any]) -> str:
    return f"the item {row[1]!r} in {row[0]!r} of the user {user_id} of {tenant_id}"


def joined(namespace: Sequence[str]) -> str:
    """A namespace as stored in a row. Raises `BadItem` for labels that LangGraph does not allow either."""
    if not namespace:
        raise BadItem("a namespace has at least one label")
    for label in namespace:
        if "." in label or not _is_name(label, LONGEST_LABEL):
            raise BadItem(f"a label is 1 to {LONGEST_LABEL} characters without a full stop, not {label!r:.100}")
    if len(namespace) > MOST_LABELS:
        raise BadItem(f"a namespace has at most {MOST_LABELS} labels")
    return ".".join(namespace)


def checked_key(key: str) -> str:
    """The key. Raises `BadItem` for one that cannot be."""
    if not _is_name(key, LONGEST_KEY):
        raise BadItem(f"a key is 1 to {LONGEST_KEY} characters, not {key!r:.100}")
    return key


def _is_name(text: str, longest: int) -> bool:
    return 0 < len(text) <= longest and not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


def prefix_range(prefix: Sequence[str]) -> tuple[str, str]:
    """First joined namespace below a prefix, and the first string after all of them. Others may stand between them."""
    if not prefix:
        return "", "\U0010ffff"
    first = joined(prefix)
    return first, first + "/"  # the character after the full stop


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


def ranked(items: Iterable[Item], query: str | None) -> list[tuple[Item, float | None]]:
    """Items ranked for a query by the share of its terms that the value contains; without a query, newest first."""
    if not query:
        return [(item, None) for item in sorted(items, key=lambda i: i.updated_at, reverse=True)]
    wanted = set(_terms(query))
    if not wanted:
        return []
    scored = [(item, len(wanted & set(_terms(_text(item.value)))) / len(wanted)) for item in items]
    found = [(item, score) for item, score in scored if score > 0]
    return sorted(found, key=lambda pair: (pair[1], pair[0].updated_at), reverse=True)


def _terms(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(_text(part) for part in value.values())
    if isinstance(value, list | tuple):
        return " ".join(_text(part) for part in value)
    return str(value)


def namespaces(
    items: Iterable[Item], *, prefix: Sequence[str] = (), suffix: Sequence[str] = (), max_depth: int | None = None
) -> list[tuple[str, ...]]:
    """The namespaces of items, in order, cut at a depth. `*` in a prefix or suffix stands for any label."""
    found = {item.namespace for item in items}
    chosen = (n for n in found if _like(n[: len(prefix)], prefix) and _like(n[len(n) - len(suffix) :], suffix))
    return sorted({n[:max_depth] for n in chosen})


def _like(labels: Sequence[str], wanted: Sequence[str]) -> bool:
    return len(labels) == len(wanted) and all(w in ("*", label) for label, w in zip(labels, wanted, strict=True))


async def _copy(items: ItemStore, tenant_id: str, user_id: str | None) -> AsyncIterator[Piece]:
    for user in await users_of(items, tenant_id, user_id):
        async for item in items.below(tenant_id, user, []):
            yield Piece("/".join((user, *item.namespace, item.key)), json.dumps(item.value).encode())


HOLDING = StoreHolding(
    name="items",
    kind="store",
    user="What agents and clients keep for the user, by namespace and key.",
    exported="All items.",
    erased="Immediately.",
    tables=("items",),
    copy=_copy,
    erase=erase_by_user,
)
