"""The tool calls: see `state.ToolLedger`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from schemas import LedgerEntry, ToolResult
from state.micros import to_micros
from state.sqlite.database import Database
from state.stores.ledger import ToolLedger, ledger_entries, ledger_entry, ledger_row, without_content

_GET = """
SELECT identity, state, owner, attempts, updated_at, result FROM tool_calls WHERE tenant_id = ? AND call_id = ?
"""
_PAGE = 500
_ENTRIES = f"""
SELECT call_id, identity, state, owner, attempts, updated_at, result FROM tool_calls
WHERE tenant_id = ? AND call_id > ? ORDER BY call_id LIMIT {_PAGE}
"""
_FORGET = "DELETE FROM tool_calls WHERE tenant_id = ? AND call_id = ?"
_CLAIM = """
INSERT OR IGNORE INTO tool_calls (tenant_id, call_id, identity, state, owner, attempts, updated_at, result)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_SEND = """
UPDATE tool_calls SET state = 'sent', owner = ?, attempts = attempts + 1, updated_at = ?
WHERE tenant_id = ? AND call_id = ? AND state = 'intent'
"""
_WITHDRAW = """
UPDATE tool_calls SET state = 'intent', updated_at = ?
WHERE tenant_id = ? AND call_id = ? AND state = 'sent' AND owner = ?
"""
_FINISH = """
UPDATE tool_calls SET state = ?, result = ?, updated_at = ?
WHERE tenant_id = ? AND call_id = ? AND state IN ('intent', 'sent') AND owner = ?
"""
_EMPTY = """
UPDATE tool_calls SET result = ? WHERE tenant_id = ? AND call_id = ? AND state IN ('done', 'unknown')
"""
_TAKE_OVER = """
UPDATE tool_calls SET owner = ?, updated_at = ?
WHERE tenant_id = ? AND call_id = ? AND state = 'sent' AND owner = ?
"""


class SqliteLedger(ToolLedger):
    """Every transition is one UPDATE whose WHERE is its condition."""

    def __init__(self, database: Database) -> None:
        self._writer, self._readers = database.writer, database.readers
        self._codec = database.codec

    async def get(self, tenant_id: str, call_id: str) -> LedgerEntry | None:
        """See `state.ToolLedger.get`."""
        row = await self._readers.run(lambda c: c.execute(_GET, (tenant_id, call_id)).fetchone())
        return None if row is None else ledger_entry(self._codec, (tenant_id, call_id), row)

    async def claim(self, tenant_id: str, entry: LedgerEntry) -> LedgerEntry | None:
        """See `state.ToolLedger.claim`."""
        key = (tenant_id, entry.call_id)
        values = ledger_row(self._codec, tenant_id, entry)
        there = await self._writer.run(
            lambda c: None if c.execute(_CLAIM, (*key, *values)).rowcount == 1 else c.execute(_GET, key).fetchone()
        )
        return None if there is None else ledger_entry(self._codec, key, there)

    async def send(self, tenant_id: str, call_id: str, *, owner: str, at: datetime) -> bool:
        """See `state.ToolLedger.send`."""
        return await self._move(_SEND, owner, to_micros(at), tenant_id, call_id)

    async def withdraw(self, tenant_id: str, call_id: str, *, owner: str, at: datetime) -> bool:
        """See `state.ToolLedger.withdraw`."""
        return await self._move(_WITHDRAW, to_micros(at), tenant_id, call_id, owner)

    async def finish(self, tenant_id: str, call_id: str, *, owner: str, result: ToolResult, at: datetime) -> bool:
        """See `state.ToolLedger.finish`."""
        state = "unknown" if result.status == "unknown" else "done"
        body = self._codec.encode(tenant_id, result.to_bytes())
        return await self._move(_FINISH, state, body, to_micros(at), tenant_id, call_id, owner)

    async def take_over(self, tenant_id: str, call_id: str, *, previous_owner: str, owner: str, at: datetime) -> bool:
        """See `state.ToolLedger.take_over`."""
        return await self._move(_TAKE_OVER, owner, to_micros(at), tenant_id, call_id, previous_owner)

    async def drop_content(self, tenant_id: str, call_id: str) -> None:
        """See `state.ToolLedger.drop_content`."""
        entry = await self.get(tenant_id, call_id)
        if entry and entry.result:
            body = self._codec.encode(tenant_id, without_content(entry.result).to_bytes())
            await self._writer.run(lambda c: c.execute(_EMPTY, (body, tenant_id, call_id)), erases=True)

    async def entries(self, tenant_id: str, user_id: str | None = None) -> AsyncIterator[LedgerEntry]:
        """See `state.ToolLedger.entries`."""
        after, more = "", True
        while more:
            wanted = (tenant_id, after)
            rows = await self._readers.run(lambda c, wanted=wanted: c.execute(_ENTRIES, wanted).fetchall())  # type: ignore[misc]
            for entry in ledger_entries(self._codec, tenant_id, rows):
                if user_id in (None, entry.user_id):
                    yield entry
            if more := len(rows) == _PAGE:
                after = rows[-1][0]

    async def forget(self, tenant_id: str, call_id: str) -> None:
        """See `state.ToolLedger.forget`."""
        await self._writer.run(lambda c: c.execute(_FORGET, (tenant_id, call_id)), erases=True)

    async def _move(self, statement: str, *parameters: Any) -> bool:
        return await self._writer.run(lambda c: c.execute(statement, parameters).rowcount == 1)
