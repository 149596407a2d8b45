"""How values look in rows, the same in every backend: JSON bytes, and times as whole microseconds since 1970."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas import (
    AcceptedRun,
    AuditEvent,
    LedgerEntry,
    OpenInput,
    Span,
    StoredEvent,
    StoredMessage,
    StoredRun,
    Tenant,
    ThreadHead,
    ThreadSummary,
    ToolResult,
    User,
    storable,
)
from state.items import Item
from state.protocols import AssistantRow, AuditRow
from state.readable import as_bytes, read, readable

Model = TypeVar("Model", bound=BaseModel)
Found = TypeVar("Found")
Key: TypeAlias = tuple[str, str]
"""Tenant and thread."""

INPUT_TTL = 8 * 24 * 3600
"""Seconds that the outputs of a processed input are kept: a day longer than the topics keep the input itself."""

OPEN_TTL = 6 * 3600
"""Seconds that an open input counts at most: longer than any turn, and an answer that was lost on its way may be given again."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MESSAGES = TypeAdapter(tuple[StoredMessage, ...])


def kept_from(run: AcceptedRun, now: datetime) -> datetime:
    """From when on the time counts that an accepted run is kept: one that is to begin later is kept until after that."""
    return max(now, run.begins_at or now)


def to_micros(time: datetime) -> int:
    """Microseconds since 1970 of a time with a zone. Exact, unlike `timestamp()`, and it sorts."""
    return (time - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The inverse of `to_micros`, in UTC."""
    return _EPOCH + micros * _MICROSECOND


def decode_messages(rows: Sequence[Sequence[Any]], key: Key) -> list[StoredMessage]:
    """Stored messages from rows of numbers and bodies (`StoredMessage.to_bytes`), those that can be read: all of them in one call
    of the validator."""
    try:
        found = _MESSAGES.validate_json(b"[%b]" % b",".join(as_bytes(body) for _, body in rows))
        if len(found) == len(rows):
            return list(found)
    except (ValidationError, TypeError):
        pass
    return list(
        readable(
            rows,
            lambda row: StoredMessage.model_validate_json(row[1]),
            lambda row: f"the message {row[0]} of {_thread(key)}",
        )
    )


def decode_head(body: bytes | str, key: Key) -> ThreadHead:
    """A thread's head. Raises `UnreadableRow`."""
    return read(_thread(key), lambda: ThreadHead.model_validate_json(body))


def decode_runs(rows: Iterable[Sequence[Any]], key: Key, *, run_id: str | None) -> Iterator[StoredRun]:
    """Runs that are over from rows of ids and bodies. Raises `UnreadableRow` for the one that was asked for by its id."""
    return _all_or_one(StoredRun, rows, lambda found: f"the run {found} of {_thread(key)}", run_id)


def decode_accepted(rows: Iterable[Sequence[Any]], key: Key, *, run_id: str | None) -> list[AcceptedRun]:
    """Accepted runs, oldest first, from rows of ids and bodies. Raises `UnreadableRow` for one that was asked for by its id."""
    found = _all_or_one(AcceptedRun, rows, lambda found: f"the accepted run {found} of {_thread(key)}", run_id)
    return sorted(found, key=lambda run: (run.at, run.run_id))


def decode_opened(rows: Iterable[Sequence[Any]], key: Key) -> list[OpenInput]:
    """Open inputs, oldest first, from rows of ids and bodies."""
    found = _all_or_one(OpenInput, rows, lambda found: f"the open input {found} of {_thread(key)}", None)
    return sorted(found, key=lambda one: (one.at, one.input_id))


def decode_events(rows: Iterable[Sequence[Any]], key: Key) -> Iterator[StoredEvent]:
    """Events from rows of numbers, types and bodies. What their JSON says is their reader's to look at."""
    return readable(
        rows,
        lambda row: StoredEvent(seq=row[0], type=row[1], body=as_bytes(row[2]).decode(errors="replace")),
        lambda row: f"the event {row[0]} of {_thread(key)}",
    )


def decode_summaries(rows: Iterable[Sequence[Any]], tenant_id: str, user_id: str) -> Iterator[ThreadSummary]:
    """Lines of a user's list, from rows of id, title, two times, metadata, agent and condition."""

    def decode(row: Sequence[Any]) -> ThreadSummary:
        thread_id, title, created_at, updated_at, metadata, agent_id, condition = row
        return ThreadSummary(
            thread_id=thread_id,
            user_id=user_id,
            title=title,
            created_at=from_micros(created_at),
            updated_at=from_micros(updated_at),
            condition=condition or "idle",
            metadata=_object(metadata) if metadata else {},
            agent_id=agent_id or "",
        )

    return readable(rows, decode, lambda row: f"the line in the list of {_thread((tenant_id, row[0]))}")


def decode_audit(rows: Iterable[Sequence[Any]], tenant_id: str) -> Iterator[AuditRow]:
    """Audit events from rows of positions, ids and bodies."""
    return readable(
        rows,
        lambda row: AuditRow(event_id=row[1], position=row[0], event=AuditEvent.model_validate_json(row[2])),
        lambda row: f"the audit event {row[1]} at {row[0]} of {tenant_id}",
    )


def decode_item(row: Sequence[Any]) -> Item:
    """An item from a row of namespace, key, body and two times."""
    namespace, key, body, created, updated = row
    return Item(tuple(namespace.split(".")), key, _object(body), from_micros(created), from_micros(updated))


def item_name(tenant_id: str, user_id: str, row: Sequence[Any]) -> str:
    """How the row of an item is called where it cannot be read."""
    return f"the item {row[1]!r} in {row[0]!r} of the user {user_id} of {tenant_id}"


def decode_tenant(body: bytes | str, tenant_id: str) -> Tenant:
    """A tenant. Raises `UnreadableRow`."""
    return read(f"the tenant {tenant_id}", lambda: Tenant.model_validate_json(body))


def decode_tenants(rows: Iterable[Sequence[Any]]) -> Iterator[Tenant]:
    """Tenants from rows of ids and bodies."""
    return _all_or_one(Tenant, rows, lambda found: f"the tenant {found}", None)


def decode_user(body: bytes | str, tenant_id: str, user_id: str) -> User:
    """A user. Raises `UnreadableRow`."""
    return read(f"the user {user_id} of {tenant_id}", lambda: User.model_validate_json(body))


def decode_users(rows: Iterable[Sequence[Any]], tenant_id: str) -> Iterator[User]:
    """Users from rows of ids and bodies."""
    return _all_or_one(User, rows, lambda found: f"the user {found} of {tenant_id}", None)


def first_of(found: Iterable[Found], limit: int) -> list[Found]:
    """At most so many, and no row more is read for them."""
    return list(islice(found, max(limit, 0)))


def _all_or_one(
    model: type[Model], rows: Iterable[Sequence[Any]], name: Callable[[Any], str], wanted: str | None
) -> Iterator[Model]:
    if wanted is None:
        return readable(rows, lambda row: model.model_validate_json(row[1]), lambda row: name(row[0]))
    return iter([read(name(row[0]), lambda row=row: model.model_validate_json(row[1])) for row in rows])  # type: ignore[misc]


def _object(text: bytes | str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    half = b"\\ud" if isinstance(text, bytes) else "\\ud"
    return storable(found) if half in text.lower() else found  # type: ignore[operator]


def _thread(key: Key) -> str:
    return f"the thread {key[1]} of {key[0]}"


def merged(ranges: Iterable[tuple[int, int]], *, gap: int = 0) -> list[tuple[int, int]]:
    """The numbers of these ranges (both ends included) in as few ranges as possible, in order.

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


def ledger_entry(key: Key, row: Sequence[Any]) -> LedgerEntry:
    """The entry of a row: its identity with the columns that changed since it was claimed. `key` is the tenant and the call's id.

    Raises `UnreadableRow`.
    """
    return read(f"the tool call {key[1]} of {key[0]}", lambda: _ledger_entry(*row))


def _ledger_entry(
    identity: bytes | str, state: Any, owner: str, attempts: int, updated_at: int, result: bytes | str | None
) -> LedgerEntry:
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
