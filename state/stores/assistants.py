"""Assistants of hosted graphs, version by version."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from state.codec import Codec
from state.keeping import Piece, StoreHolding
from state.pages import PAGE_BYTES, Page, Usage
from state.readable import read, readable


@dataclass(frozen=True, slots=True)
class AssistantRow:
    """One version of an assistant of a hosted graph; `body` is its JSON, opaque to the store."""

    assistant_id: str
    version: int
    """1, 2, 3, ..."""
    body: bytes


class AssistantStore(Protocol):
    """Assistants that a tenant's users made on hosted graphs. Every version is kept; one of them is the current one."""

    async def put(self, tenant_id: str, row: AssistantRow, *, expected_version: int) -> bool:
        """Adds a version and makes it the current one, if the newest version is the expected one (0: there is none).

        False when it is not. Raises `ValueError` unless `row.version` is `expected_version` + 1.
        """
        ...

    async def choose(self, tenant_id: str, assistant_id: str, version: int) -> bool:
        """Makes a version that exists the current one; False when there is none."""
        ...

    async def get(self, tenant_id: str, assistant_id: str) -> AssistantRow | None:
        """The current version."""
        ...

    async def count(self, tenant_id: str) -> Usage:
        """How many assistants a tenant has."""
        ...

    async def newest(self, tenant_id: str, assistant_id: str) -> int:
        """The number of the newest version, which may not be the current one; 0 when there is none."""
        ...

    async def versions(
        self,
        tenant_id: str,
        assistant_id: str,
        *,
        before: int | None = None,
        limit: int = 100,
        max_bytes: int = PAGE_BYTES,
    ) -> Page[AssistantRow]:
        """A page of the versions with numbers below `before`, the newest first."""
        ...

    async def list(
        self, tenant_id: str, *, after: str | None = None, limit: int = 100, max_bytes: int = PAGE_BYTES
    ) -> Page[AssistantRow]:
        """A page of the current versions of all assistants, by id, of those whose ids come after this one."""
        ...

    async def delete(self, tenant_id: str, assistant_id: str) -> bool:
        """Removes an assistant with all its versions; False when there is none."""
        ...


def check_assistant_version(row: AssistantRow, expected_version: int) -> None:
    """Raises `ValueError` for a version that does not come right after the expected one."""
    if row.version != expected_version + 1:
        raise ValueError(
            f"the assistant {row.assistant_id!r} has version {row.version}; "
            f"what follows on version {expected_version} must have version {expected_version + 1}"
        )


def decode_assistant(codec: Codec, row: Sequence[Any], tenant_id: str) -> AssistantRow:
    """A version from a row of id, number and body. Raises `UnreadableRow`."""
    assistant_id, version, body = row
    name = f"version {version} of the assistant {assistant_id} of {tenant_id}"
    return AssistantRow(assistant_id, version, read(name, lambda: codec.decode(tenant_id, body)))


def decode_assistants(codec: Codec, rows: Iterable[Sequence[Any]], tenant_id: str) -> Iterator[AssistantRow]:
    """Versions, those that can be read."""
    return readable(
        rows,
        lambda row: decode_assistant(codec, row, tenant_id),
        lambda row: f"version {row[1]} of the assistant {row[0]} of {tenant_id}",
    )


def _is_of(assistant: AssistantRow, user_id: str | None) -> bool:
    """Whether it is the user's own; of the tenant they all are. Shared ones are no user's."""
    if user_id is None:
        return True
    with suppress(ValueError):
        body = json.loads(assistant.body)
        return isinstance(body, dict) and body.get("owner") == user_id
    return False


async def each_assistant(assistants: AssistantStore, tenant_id: str) -> AsyncGenerator[AssistantRow]:
    """The current versions of all assistants, by id, read page by page."""
    after, more = None, True
    while more:
        page = await assistants.list(tenant_id, after=after)
        for row in page:
            yield row
        after, more = page.next, page.next is not None


async def each_version(assistants: AssistantStore, tenant_id: str, assistant_id: str) -> AsyncGenerator[AssistantRow]:
    """All versions of an assistant, the newest first, read page by page."""
    before, more = None, True
    while more:
        page = await assistants.versions(tenant_id, assistant_id, before=before)
        for row in page:
            yield row
        before, more = page.next, page.next is not None


async def _each_of(assistants: AssistantStore, tenant_id: str, user_id: str | None) -> AsyncGenerator[AssistantRow]:
    async for assistant in each_assistant(assistants, tenant_id):
        if _is_of(assistant, user_id):
            yield assistant


async def _copy(assistants: AssistantStore, tenant_id: str, user_id: str | None) -> AsyncIterator[Piece]:
    async for assistant in _each_of(assistants, tenant_id, user_id):
        async for version in each_version(assistants, tenant_id, assistant.assistant_id):
            yield Piece(f"{version.assistant_id}/{version.version}", version.body)


async def _erase(assistants: AssistantStore, tenant_id: str, user_id: str | None, before: datetime) -> None:
    async for assistant in _each_of(assistants, tenant_id, user_id):
        await assistants.delete(tenant_id, assistant.assistant_id)


HOLDING = StoreHolding(
    name="assistants",
    kind="store",
    tenant="Assistants on hosted graphs, every version.",
    user="Those that the user made and that are not shared.",
    exported="All versions.",
    erased="Immediately. Those that an administrator has shared are the tenant's, and stay.",
    tables=("assistants", "assistant_versions"),
    copy=_copy,
    erase=_erase,
)
