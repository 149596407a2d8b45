"""The tool-call ledger's row: one for each tool call, so that none is made twice."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Body, Timestamp
from schemas.ids import Id
from schemas.tools import ToolResult

CallState = Literal["intent", "sent", "done", "unknown"]
"""`intent`: will be sent, has certainly not been. `sent`: on its way, may have happened. `done`: `result` is final.
`unknown`: may have happened, and cannot be determined; `result` states this."""


class LedgerEntry(Body):
    """One tool call's fate. `owner` is the attempt that moved it to `sent`: only that attempt may move it on."""

    call_id: Id
    run_id: Id
    thread_id: Id
    user_id: Id
    name: str
    source: str
    """Position of the record that asked first (`RawRecord.position`); a second one with the same call is a repeat. Empty
    when the entry was recovered from the topics."""
    state: CallState
    owner: str = ""
    attempts: int = Field(default=0, ge=0)
    created_at: Timestamp
    updated_at: Timestamp
    result: ToolResult | None = None
