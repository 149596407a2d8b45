"""The tool calls: see `state.ToolLedger`. Every transition is one UPDATE with its condition."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas import LedgerEntry, ToolResult
from state.cassandra.keyspace import Keyspace
from state.cassandra.outcome import decided
from state.cassandra.queries import Kind, Query
from state.micros import to_micros
from state.stores.ledger import ToolLedger, ledger_entries, ledger_entry, ledger_row, without_content

_COLUMNS = "identity, state, owner, attempts, updated_at, result"
_GET = Query(Kind.READ, f"SELECT {_COLUMNS} FROM KEYSPACE.tool_calls WHERE tenant_id = ? AND call_id = ?")
_DECIDED = Query(Kind.SERIAL_READ, f"SELECT {_COLUMNS} FROM KEYSPACE.tool_calls WHERE tenant_id = ? AND call_id = ?")
_ENTRIES = Query(Kind.READ, f"SELECT tenant_id, call_id, {_COLUMNS} FROM KEYSPACE.tool_calls")
_FORGET = Query(Kind.CONDITIONAL, "DELETE FROM KEYSPACE.tool_calls WHERE tenant_id = ? AND call_id = ? IF EXISTS")
_CLAIM = Query(
    Kind.CONDITIONAL,
    f"INSERT INTO KEYSPACE.tool_calls (tenant_id, call_id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS",
)
_SEND = Query(
    Kind.CONDITIONAL,
    "UPDATE KEYSPACE.tool_calls SET state = 'sent', owner = ?, attempts = ?, updated_at = ? "
    "WHERE tenant_id = ? AND call_id = ? IF state = 'intent' AND attempts = ?",
)
_WITHDRAW = Query(
    Kind.CONDITIONAL,
    "UPDATE KEYSPACE.tool_calls SET state = 'intent', updated_at = ? "
    "WHERE tenant_id = ? AND call_id = ? IF state = 'sent' AND owner = ?",
)
_FINISH = Query(
    Kind.CONDITIONAL,
    "UPDATE KEYSPACE.tool_calls SET state = ?, result = ?, updated_at = ? "
    "WHERE tenant_id = ? AND call_id = ? IF state IN ('intent', 'sent') AND owner = ?",
)
_EMPTY = Query(
    Kind.CONDITIONAL,
    "UPDATE KEYSPACE.tool_calls SET result = ? WHERE tenant_id = ? AND call_id = ? IF state IN ('done', 'unknown')",
)
_TAKE_OVER = Query(
    Kind.CONDITIONAL,
    "UPDATE KEYSPACE.tool_calls SET owner = ?, updated_at = ? "
    "WHERE tenant_id = ? AND call_id = ? IF state = 'sent' AND owner = ?",
)


@dataclass(frozen=True, slots=True)
class _Claim:
    there: LedgerEntry | None


class CassandraLedger(ToolLedger):
    """An owner is one attempt: a row that has its mark after a lost answer was written by it."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._session, self._codec = keyspace.session, keyspace.codec

    async def get(self, tenant_id: str, call_id: str) -> LedgerEntry | None:
        """See `state.ToolLedger.get`."""
        rows = await self._session.execute(_GET, tenant_id, call_id)
        return ledger_entry(self._codec, (tenant_id, call_id), rows[0]) if rows else None

    async def claim(self, tenant_id: str, entry: LedgerEntry) -> LedgerEntry | None:
        """See `state.ToolLedger.claim`."""
        key = (tenant_id, entry.call_id)
        values = ledger_row(self._codec, tenant_id, entry)

        async def write() -> _Claim:
            (row,) = await self._session.execute(_CLAIM, *key, *values)
            return _Claim(None if row["[applied]"] else self._entry(key, row))

        async def look() -> _Claim | None:
            rows = await self._session.execute(_DECIDED, *key)
            if not rows:
                return None
            stored = ledger_entry(self._codec, key, rows[0])
            return _Claim(None if stored == entry else stored)

        return (await decided(write, look)).there

    async def send(self, tenant_id: str, call_id: str, *, owner: str, at: datetime) -> bool:
        """See `state.ToolLedger.send`."""
        entry = await self.get(tenant_id, call_id)
        while entry is not None and entry.state == "intent":
            # CQL cannot add to a column, so the attempts that were read are part of the condition.
            values = (owner, entry.attempts + 1, to_micros(at), tenant_id, call_id, entry.attempts)
            if await self._move(
                _SEND,
                values,
                (tenant_id, call_id),
                done=lambda now: now.state == "sent" and now.owner == owner,
                possible=lambda now, seen=entry: now.state == "intent" and now.attempts == seen.attempts,  # type: ignore[misc]
            ):
                return True
            entry = await self.get(tenant_id, call_id)
        return False

    async def withdraw(self, tenant_id: str, call_id: str, *, owner: str, at: datetime) -> bool:
        """See `state.ToolLedger.withdraw`."""
        return await self._move(
            _WITHDRAW,
            (to_micros(at), tenant_id, call_id, owner),
            (tenant_id, call_id),
            done=lambda now: now.state == "intent" and now.owner == owner,
            possible=lambda now: now.state == "sent" and now.owner == owner,
        )

    async def finish(self, tenant_id: str, call_id: str, *, owner: str, result: ToolResult, at: datetime) -> bool:
        """See `state.ToolLedger.finish`."""
        state = "unknown" if result.status == "unknown" else "done"
        return await self._move(
            _FINISH,
            (state, self._codec.encode(tenant_id, result.to_bytes()), to_micros(at), tenant_id, call_id, owner),
            (tenant_id, call_id),
            done=lambda now: now.owner == owner and now.result == result,
            possible=lambda now: now.owner == owner and now.state in ("intent", "sent"),
        )

    async def take_over(self, tenant_id: str, call_id: str, *, previous_owner: str, owner: str, at: datetime) -> bool:
        """See `state.ToolLedger.take_over`."""
        return await self._move(
            _TAKE_OVER,
            (owner, to_micros(at), tenant_id, call_id, previous_owner),
            (tenant_id, call_id),
            done=lambda now: now.state == "sent" and now.owner == owner,
            possible=lambda now: now.state == "sent" and now.owner == previous_owner,
        )

    async def drop_content(self, tenant_id: str, call_id: str) -> None:
        """See `state.ToolLedger.drop_content`."""
        entry = await self.get(tenant_id, call_id)
        if entry and entry.result:
            body = self._codec.encode(tenant_id, without_content(entry.result).to_bytes())
            await self._session.execute(_EMPTY, body, tenant_id, call_id)

    async def entries(self, tenant_id: str, user_id: str | None = None) -> AsyncIterator[LedgerEntry]:
        """See `state.ToolLedger.entries`."""
        async for page in self._session.pages(_ENTRIES):
            for entry in ledger_entries(self._codec, tenant_id, [row[1:] for row in page if row[0] == tenant_id]):
                if user_id in (None, entry.user_id):
                    yield entry

    async def forget(self, tenant_id: str, call_id: str) -> None:
        """See `state.ToolLedger.forget`."""
        await self._session.execute(_FORGET, tenant_id, call_id)

    async def _move(
        self,
        query: Query,
        values: tuple[Any, ...],
        key: tuple[str, str],
        *,
        done: Callable[[LedgerEntry], bool],
        possible: Callable[[LedgerEntry], bool],
    ) -> bool:
        """Whether the row moved. After a lost answer: `done` says whether it did, `possible` whether it still can."""

        async def write() -> bool:
            (row,) = await self._session.execute(query, *values)
            return bool(row["[applied]"])

        async def look() -> bool | None:
            rows = await self._session.execute(_DECIDED, *key)
            if not rows:
                return False
            now = ledger_entry(self._codec, key, rows[0])
            if done(now):
                return True
            return None if possible(now) else False

        return await decided(write, look)

    def _entry(self, key: tuple[str, str], row: dict[str, Any]) -> LedgerEntry:
        return ledger_entry(self._codec, key, [row[column] for column in _COLUMNS.split(", ")])
