"""Plain values for the stores, as small as they may be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas import (
    AcceptedRun,
    ActiveRun,
    AuditEvent,
    LedgerEntry,
    Message,
    StateRow,
    StoredEvent,
    StoredMessage,
    StoredRun,
    ThreadHead,
    ToolResult,
    ToolStatus,
)
from state import AuditRow, Commit

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def message(seq: int, text: str = "hello", **fields: Any) -> StoredMessage:
    values: dict[str, Any] = {"message_id": f"m{seq}", "role": "user", "text": text, "run_id": "r1", "at": NOON}
    return StoredMessage(seq=seq, message=Message(**(values | fields)))


def event(seq: int, body: str = "{}") -> StoredEvent:
    return StoredEvent(seq=seq, type="cauce.run.started", body=body)


def head(*, user_id: str = "u1", updated: float = 0, title: str = "", running: bool = False) -> ThreadHead:
    run = ActiveRun(
        run_id="r1",
        input_id="i1",
        user_id=user_id,
        agent_id="default",
        started_at=NOON,
        resumed_at=NOON,
        first_message=1,
    )
    return ThreadHead(
        user_id=user_id, created_at=NOON, updated_at=at(updated), title=title, run=run if running else None
    )


def commit(
    input_id: str,
    expected_version: int,
    *,
    outputs: bytes | None = None,
    messages: Iterable[StoredMessage] = (),
    events: Iterable[StoredEvent] = (),
    thread: ThreadHead | None = None,
    remove_messages_from: int | None = None,
    runs: Iterable[StoredRun] = (),
    erase: bool = False,
    rows: Iterable[StateRow] = (),
    final: bool = True,
    announced: bool = False,
) -> Commit:
    return Commit(
        input_id=input_id,
        expected_version=expected_version,
        head=thread or head(updated=expected_version),
        outputs=f"outputs of {input_id}".encode() if outputs is None else outputs,
        messages=tuple(messages),
        events=tuple(events),
        remove_messages_from=remove_messages_from,
        runs=tuple(runs),
        erase=erase,
        rows=tuple(rows),
        final=final,
        announced=announced,
    )


def checkpoint(seq: int, body: str = "") -> StateRow:
    return StateRow(seq=seq, kind="checkpoint", body=(body or f"checkpoint {seq}").encode())


def value(seq: int, body: str = "") -> StateRow:
    return StateRow(seq=seq, kind="value", body=(body or f"value {seq}").encode())


def run(run_id: str, last_event: int = 2, **fields: Any) -> StoredRun:
    values: dict[str, Any] = {
        "run_id": run_id,
        "input_id": run_id,
        "agent_id": "default",
        "outcome": "completed",
        "accepted_at": NOON,
        "ended_at": at(1),
        "first_event": 1,
        "last_event": last_event,
    }
    return StoredRun(**(values | fields))


def accepted(run_id: str, seconds: float = 0, **fields: Any) -> AcceptedRun:
    return AcceptedRun(run_id=run_id, user_id="u1", agent_id="default", at=at(seconds), **fields)


def entry(call_id: str, **fields: Any) -> LedgerEntry:
    values: dict[str, Any] = {
        "call_id": call_id,
        "run_id": "r1",
        "thread_id": "th1",
        "user_id": "u1",
        "name": "Gmail_SendEmail",
        "source": "tool.requests/0/7",
        "state": "intent",
        "owner": "worker-1",
        "created_at": NOON,
        "updated_at": NOON,
    }
    return LedgerEntry(**(values | fields))


def result(call_id: str, *, status: ToolStatus = "ok", content: str = "sent") -> ToolResult:
    return ToolResult(
        call_id=call_id,
        run_id="r1",
        name="Gmail_SendEmail",
        status=status,
        content=content,
        finished_at=NOON,
        duration_ms=12.5,
    )


def audit_row(position: int, *, seconds: float | None = None, event_id: str | None = None, **details: Any) -> AuditRow:
    return AuditRow(
        event_id=event_id or f"e{position}",
        position=position,
        event=AuditEvent(
            at=at(position if seconds is None else seconds), action="tool.executed", actor="system", details=details
        ),
    )


async def until_none(read: Callable[[], Awaitable[Any]], *, seconds: float = 120) -> None:
    """Waits until `read` gives None."""
    async with asyncio.timeout(seconds):
        while True:
            if await read() is None:
                return
            await asyncio.sleep(0.05)
