"""How values look in rows, the same in every backend: JSON bytes, and times as whole microseconds since 1970."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from schemas import LedgerEntry, Span, StoredMessage, Tenant, ThreadHead, ThreadSummary, ToolResult
from state.protocols import AssistantRow

INPUT_TTL = 8 * 24 * 3600
"""Seconds that the outputs of a processed input are kept: a day longer than the topics keep the input itself."""

OPEN_TTL = 6 * 3600
"""Seconds that an open input counts at most: longer than any turn, and an answer that was lost on its way may be given again."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MESSAGES = TypeAdapter(tuple[StoredMessage, ...])


def to_micros(time: datetime) -> int:
    """Microseconds since 1970 of a time with a zone. Exact, unlike `timestamp()`, and it sorts."""
    return (time - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The inverse of `to_micros`, in UTC."""
    return _EPOCH + micros * _MICROSECOND


def decode_messages(bodies: Iterable[bytes]) -> tuple[StoredMessage, ...]:
    """Stored messages from the JSON that `StoredMessage.to_bytes` made: all of them in one call of the validator."""
    return _MESSAGES.validate_json(b"[%b]" % b",".join(bodies))


def merged(ranges: Iterable[tuple[int, int]], *, gap: int = 0) -> list[tuple[int, int]]:
    """The same numbers (both ends included) in as few ranges as possible, in order.

    Ranges with at most `gap` numbers between them become one, which then has those numbers, too.
    """
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if first > last:
            continue
        if found and first <= found[-1][1] + 1 + gap:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def below(before: int, spans: Iterable[Span]) -> list[Span]:
    """What of these spans, in their order, is below a number."""
    return [(first, min(last, before - 1)) for first, last in spans if first < before]


def summary(thread_id: str, head: ThreadHead) -> ThreadSummary:
    """The line of a thread in its user's list."""
    return ThreadSummary(
        thread_id=thread_id,
        user_id=head.user_id,
        title=head.title,
        created_at=head.created_at,
        updated_at=head.updated_at,
        condition=head.condition,
        metadata=head.metadata,
        agent_id=head.agent_id,
    )


def ledger_identity(entry: LedgerEntry) -> bytes:
    """What of an entry never changes; the rest stands in columns that conditions can look at."""
    return entry.model_copy(update={"result": None}).to_bytes()


def ledger_entry(
    identity: bytes | str, state: Any, owner: str, attempts: int, updated_at: int, result: bytes | str | None
) -> LedgerEntry:
    """The entry of a row: its identity with the columns that changed since it was claimed."""
    return LedgerEntry.model_validate_json(identity).model_copy(
        update={
            "state": state,
            "owner": owner,
            "attempts": attempts,
            "updated_at": from_micros(updated_at),
            "result": None if result is None else ToolResult.model_validate_json(result),
        }
    )


def check_tenant_version(tenant: Tenant, expected_version: int) -> None:
    """Raises `ValueError` for a change that readers of the version could not see."""
    if tenant.version <= expected_version:
        raise ValueError(
            f"the tenant {tenant.tenant_id!r} has version {tenant.version}; a change of version {expected_version} "
            "must have a higher one"
        )


def check_assistant_version(row: AssistantRow, expected_version: int) -> None:
    """Raises `ValueError` for a version that does not come right after the expected one."""
    if row.version != expected_version + 1:
        raise ValueError(
            f"the assistant {row.assistant_id!r} has version {row.version}; "
            f"what follows on version {expected_version} must have version {expected_version + 1}"
        )
