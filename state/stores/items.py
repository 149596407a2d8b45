"""Items: JSON values that agents and clients keep for a user, by namespace and key, as LangGraph's stores have them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from schemas import CauceError
from state.codec import Codec
from state.keeping import Piece, StoreHolding, erase_by_user, users_of
from state.micros import from_micros
from state.pages import Usage
from state.readable import json_object, read, readable

MOST_LABELS = 10
LONGEST_LABEL = 200
LONGEST_KEY = 512


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
    size: int = field(default=0, compare=False)
    """Bytes that it is stored with."""

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
        """The user's items whose namespaces begin with these labels, by namespace and key, read about `PAGE_BYTES` at a time."""
        ...

    def names(self, tenant_id: str, user_id: str, prefix: Sequence[str]) -> AsyncIterator[tuple[str, ...]]:
        """The namespaces of these items, each once, in order. No item is read for it."""
        ...

    async def count(self, tenant_id: str, user_id: str) -> Usage:
        """How many items a user has, and their bytes; items of older versions may count none."""
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
    return Item(tuple(namespace.split(".")), key, value, from_micros(created), from_micros(updated), len(body))


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


def namespaces(
    given: Iterable[tuple[str, ...]],
    *,
    prefix: Sequence[str] = (),
    suffix: Sequence[str] = (),
    max_depth: int | None = None,
) -> list[tuple[str, ...]]:
    """Those of the namespaces that fit, in order, cut at a depth. `*` in a prefix or suffix stands for any label."""
    chosen = (n for n in given if _like(n[: len(prefix)], prefix) and _like(n[len(n) - len(suffix) :], suffix))
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
