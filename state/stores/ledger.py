"""The ledger: every tool call once, and how its rows are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from schemas import LedgerEntry, ToolResult
from state.codec import Codec
from state.keeping import Piece, StoreHolding
from state.micros import from_micros, to_micros
from state.readable import read, readable


class ToolLedger(Protocol):
    """Every tool call once. All writes are conditional on the row's state."""

    async def get(self, tenant_id: str, call_id: str) -> LedgerEntry | None:
        """The entry of a call."""
        ...

    async def claim(self, tenant_id: str, entry: LedgerEntry) -> LedgerEntry | None:
        """Inserts `entry` if the call has none. Returns None when it did, else the entry that is there."""
        ...

    async def send(self, tenant_id: str, call_id: str, *, owner: str, at: datetime) -> bool:
        """Moves `intent` to `sent` for this owner and counts an attempt. False when it was not in `intent`."""
        ...

    async def withdraw(self, tenant_id: str, call_id: str, *, owner: str, at: datetime) -> bool:
        """Moves `sent` back to `intent`: the call was certainly not executed. False unless this owner sent it."""
        ...

    async def finish(self, tenant_id: str, call_id: str, *, owner: str, result: ToolResult, at: datetime) -> bool:
        """Moves `intent` or `sent` to `done` (`unknown` if the result is unknown). False unless it is this owner's."""
        ...

    async def take_over(self, tenant_id: str, call_id: str, *, previous_owner: str, owner: str, at: datetime) -> bool:
        """Makes `owner` the owner of a `sent` entry that `previous_owner` left behind; it stays `sent`."""
        ...

    async def drop_content(self, tenant_id: str, call_id: str) -> None:
        """Empties the result of a settled call, if there is one; that it was made, and how it ended, stays."""
        ...

    def entries(self, tenant_id: str, user_id: str | None = None) -> AsyncIterator[LedgerEntry]:
        """All entries of a user, or of a tenant, that can be read. Cassandra reads the whole table for it."""
        ...

    async def forget(self, tenant_id: str, call_id: str) -> None:
        """Removes an entry. A later request for the call would be executed, so no topic may still contain one."""
        ...


def ledger_row(codec: Codec, tenant_id: str, entry: LedgerEntry) -> tuple[Any, ...]:
    """The columns of an entry behind its key. The first is what never changes, the rest is what conditions can look at."""
    result = None if entry.result is None else codec.encode(tenant_id, entry.result.to_bytes())
    identity = codec.encode(tenant_id, entry.model_copy(update={"result": None}).to_bytes())
    return identity, entry.state, entry.owner, entry.attempts, to_micros(entry.updated_at), result


def ledger_entry(codec: Codec, key: tuple[str, str], row: Sequence[Any]) -> LedgerEntry:
    """The entry of a row: its identity with the columns that changed since it was claimed. `key` is the tenant and the call's id.

    Raises `UnreadableRow`.
    """
    return read(f"the tool call {key[1]} of {key[0]}", lambda: _ledger_entry(codec, key[0], *row))


def ledger_entries(codec: Codec, tenant_id: str, rows: Iterable[Sequence[Any]]) -> Iterator[LedgerEntry]:
    """Entries from rows of call ids and the same columns, those that can be read."""
    return readable(
        rows,
        lambda row: _ledger_entry(codec, tenant_id, *row[1:]),
        lambda row: f"the tool call {row[0]} of {tenant_id}",
    )


def without_content(result: ToolResult) -> ToolResult:
    """What stays of a result whose thread is gone."""
    return result.model_copy(update={"content": ""})


def _ledger_entry(
    codec: Codec,
    tenant_id: str,
    identity: bytes | str,
    state: Any,
    owner: str,
    attempts: int,
    updated_at: int,
    result: bytes | str | None,
) -> LedgerEntry:
    return LedgerEntry.model_validate_json(codec.decode(tenant_id, identity)).model_copy(
        update={
            "state": state,
            "owner": owner,
            "attempts": attempts,
            "updated_at": from_micros(updated_at),
            "result": None if result is None else ToolResult.model_validate_json(codec.decode(tenant_id, result)),
        }
    )


async def _copy(ledger: ToolLedger, tenant_id: str, user_id: str | None) -> AsyncIterator[Piece]:
    async for entry in ledger.entries(tenant_id, user_id):
        yield Piece(f"calls/{entry.call_id}", entry.to_bytes())


async def _erase(ledger: ToolLedger, tenant_id: str, user_id: str | None, before: datetime) -> None:
    async for entry in ledger.entries(tenant_id, user_id):
        if entry.updated_at < before:
            await ledger.forget(tenant_id, entry.call_id)


HOLDING = StoreHolding(
    name="ledger",
    kind="store",
    user="Tool calls: which tool, when, and its result.",
    exported="All entries.",
    erased=(
        "The content of results, immediately, with their threads. Entries older than 8 days, for which no record can arrive any "
        "more: without a younger entry, the call could be executed a second time. Erasing again after that removes the rest."
    ),
    tables=("tool_calls",),
    copy=_copy,
    erase=_erase,
)
