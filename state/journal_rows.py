"""How the journal's rows are read and written, in both twins."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter

from schemas import (
    AcceptedRun,
    OpenInput,
    StateRow,
    StoredEvent,
    StoredMessage,
    StoredRun,
    ThreadHead,
    ThreadSummary,
)
from state.codec import Codec
from state.micros import from_micros
from state.pages import Taken
from state.readable import as_bytes, json_object, read, readable

Key: TypeAlias = tuple[str, str]
"""Tenant and thread."""

_MESSAGES = TypeAdapter(tuple[StoredMessage, ...])


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


def line_body(head: ThreadHead) -> bytes:
    """The title and the metadata of a thread, for its user's list, as JSON."""
    return json.dumps({"title": head.title, "metadata": head.metadata}, ensure_ascii=False).encode()


def decode_head(codec: Codec, body: bytes | str, key: Key) -> ThreadHead:
    """A thread's head. Raises `UnreadableRow`."""
    return read(_thread(key), lambda: ThreadHead.model_validate_json(codec.decode(key[0], body)))


def decode_heads(codec: Codec, rows: Iterable[Sequence[Any]], tenant_id: str) -> Iterator[tuple[str, ThreadHead]]:
    """Ids and heads from rows of ids and heads, those that can be read."""
    return readable(
        rows,
        lambda row: (row[0], ThreadHead.model_validate_json(codec.decode(tenant_id, row[1]))),
        lambda row: _thread((tenant_id, row[0])),
    )


def decode_outputs(codec: Codec, stored: bytes | str, key: Key, input_id: str) -> bytes:
    """The outputs of a processed input. Raises `UnreadableRow`."""
    return read(f"the outputs of the input {input_id} of {_thread(key)}", lambda: codec.decode(key[0], stored))


def decode_messages(codec: Codec, rows: Sequence[Sequence[Any]], key: Key) -> list[StoredMessage]:
    """Stored messages from rows of numbers and bodies (`StoredMessage.to_bytes`), those that can be read: all of them in one call
    of the validator."""
    try:
        found = _MESSAGES.validate_json(b"[%b]" % b",".join(codec.decode(key[0], body) for _, body in rows))
        if len(found) == len(rows):
            return list(found)
    except Exception:  # one by one, it is named which cannot be read
        pass
    return list(codec.models(StoredMessage, key[0], rows, lambda seq: f"the message {seq} of {_thread(key)}"))


def following_row(taken: Taken[Any], left: int) -> int | None:
    """The number before which more rows may be, after a page with room for `left` more; None where there are none."""
    if taken.last is None or (left > 0 and not taken.full):
        return None
    number = int(taken.last[0])
    return number if number > 1 else None


def decode_events(codec: Codec, rows: Iterable[Sequence[Any]], key: Key) -> Iterator[StoredEvent]:
    """Events from rows of numbers, types and bodies. Their JSON is decoded by the reader."""
    return readable(
        rows,
        lambda row: StoredEvent(seq=row[0], type=row[1], body=codec.decode(key[0], row[2]).decode(errors="replace")),
        lambda row: f"the event {row[0]} of {_thread(key)}",
    )


def decode_runs(codec: Codec, rows: Iterable[Sequence[Any]], key: Key, *, run_id: str | None) -> Iterator[StoredRun]:
    """Runs that are over from rows of ids and bodies. Raises `UnreadableRow` for the one that was asked for by its id."""
    return codec.models(StoredRun, key[0], rows, lambda run: f"the run {run} of {_thread(key)}", wanted=run_id)


def accepted_values(codec: Codec, tenant_id: str, run: AcceptedRun) -> tuple[bytes, bytes | None]:
    """Body and details of an accepted run."""
    details = json.dumps(run.details, ensure_ascii=False, separators=(",", ":")).encode() if run.details else None
    body = run.model_copy(update={"details": {}}).to_bytes()
    return codec.encode(tenant_id, body), None if details is None else codec.encode(tenant_id, details)


def decode_accepted(codec: Codec, row: Sequence[Any], key: Key) -> AcceptedRun:
    """An accepted run from a row of id, body and details. Raises `UnreadableRow`."""
    run_id, body, details = row

    def decode() -> AcceptedRun:
        run = AcceptedRun.model_validate_json(codec.decode(key[0], body))
        more = {} if details is None else json_object(codec.decode(key[0], details))
        return run.model_copy(update={"details": {**run.details, **more}})

    return read(f"the accepted run {run_id} of {_thread(key)}", decode)


def decode_promises(codec: Codec, rows: Iterable[Sequence[Any]], key: Key) -> Iterator[AcceptedRun]:
    """Accepted runs without their details from rows of ids and bodies, those that can be read."""
    found = codec.models(AcceptedRun, key[0], rows, lambda run: f"the accepted run {run} of {_thread(key)}")
    return (run.model_copy(update={"details": {}}) for run in found)


def decode_opened(codec: Codec, rows: Iterable[Sequence[Any]], key: Key) -> list[OpenInput]:
    """Open inputs, oldest first, from rows of ids and bodies."""
    found = codec.models(OpenInput, key[0], rows, lambda given: f"the open input {given} of {_thread(key)}")
    return sorted(found, key=lambda one: (one.at, one.input_id))


def decode_rows(
    codec: Codec, kind: Literal["checkpoint", "value"], rows: Iterable[Sequence[Any]], key: Key
) -> list[StateRow]:
    """Rows of a graph's state from rows of numbers and bodies. Raises `UnreadableRow`."""
    return [
        StateRow(
            seq=seq,
            kind=kind,
            body=read(f"the {kind} {seq} of {_thread(key)}", lambda b=body: codec.decode(key[0], b)),  # type: ignore[misc]
        )
        for seq, body in rows
    ]


def decode_summaries(
    codec: Codec, rows: Iterable[Sequence[Any]], tenant_id: str, user_id: str
) -> Iterator[ThreadSummary]:
    """Lines of a user's list, from rows of id, two times, agent, condition, line, and title and metadata of older rows."""

    def decode(row: Sequence[Any]) -> ThreadSummary:
        thread_id, created_at, updated_at, agent_id, condition, line, title, metadata = row
        if line is not None and not title and not metadata:  # else an older version wrote over what a newer one had
            body = json_object(codec.decode(tenant_id, line))
            title, metadata = body["title"], body["metadata"]
        else:
            metadata = json_object(as_bytes(metadata)) if metadata else {}
        return ThreadSummary(
            thread_id=thread_id,
            user_id=user_id,
            title=title,
            created_at=from_micros(created_at),
            updated_at=from_micros(updated_at),
            condition=condition or "idle",
            metadata=metadata,
            agent_id=agent_id or "",
        )

    return readable(rows, decode, lambda row: f"the line in the list of {_thread((tenant_id, row[0]))}")


def in_order(found: Iterable[ThreadSummary], thread_ids: Iterable[str]) -> list[ThreadSummary]:
    """Lines in the order of these ids."""
    known = {line.thread_id: line for line in found}
    return [known[thread_id] for thread_id in thread_ids if thread_id in known]


def _thread(key: Key) -> str:
    return f"the thread {key[1]} of {key[0]}"
