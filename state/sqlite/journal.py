"""The threads: see `state.Journal`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from schemas import (
    Commit,
    Hydrated,
    OpenInput,
    Span,
    StateRow,
    StoredEvent,
    StoredMessage,
    ThreadSummary,
    encode_outputs,
)
from state.codec import Codec
from state.journal_rows import (
    decode_events,
    decode_head,
    decode_messages,
    decode_opened,
    decode_outputs,
    decode_rows,
    decode_summaries,
    following_row,
    in_order,
    line_body,
)
from state.micros import from_micros, to_micros
from state.pages import PAGE_BYTES, Page, Taken, Usage, all_within, paged
from state.spans import below, merged
from state.sqlite.database import Database
from state.sqlite.run_rows import NO_SEQ, PURGED_A_COMMIT, SqliteRuns
from state.stores.journal import OPEN_TTL, AlreadyDone, Committed, Journal, OwnedThread, Stale, ThreadPlace

_HEAD = "SELECT version, head FROM threads WHERE tenant_id = ? AND thread_id = ?"
_NUMBERS = """
SELECT (SELECT version FROM threads WHERE tenant_id = ? AND thread_id = ?),
       (SELECT max(seq) FROM events WHERE tenant_id = ? AND thread_id = ?)
"""
_OUTPUTS = "SELECT outputs FROM inputs WHERE tenant_id = ? AND thread_id = ? AND input_id = ? AND expires_at > ?"
_NEWEST = "SELECT seq, body FROM messages WHERE tenant_id = ? AND thread_id = ? ORDER BY seq DESC"
_SPAN = "SELECT seq, body FROM messages WHERE tenant_id = ? AND thread_id = ? AND seq BETWEEN ? AND ? ORDER BY seq DESC"
_EVENTS = "SELECT seq, type, body FROM events WHERE tenant_id = ? AND thread_id = ? AND seq > ? ORDER BY seq"
_CONDITION = """
CASE WHEN EXISTS (
    SELECT 1 FROM open_inputs o
    WHERE o.tenant_id = threads.tenant_id AND o.thread_id = threads.thread_id AND o.begun AND o.expires_at > ?
) THEN 'busy' ELSE condition END
"""
_PLACES = f"""
SELECT thread_id, updated_at, {_CONDITION} FROM threads
WHERE tenant_id = ? AND user_id = ? AND deleted = 0 ORDER BY updated_at DESC, thread_id LIMIT ?
"""
_COUNT = "SELECT count(*) FROM threads WHERE tenant_id = ? AND user_id = ? AND deleted = 0"
_LINES = f"""
SELECT thread_id, created_at, updated_at, agent_id, {_CONDITION}, line, title, metadata FROM threads
WHERE tenant_id = ? AND user_id = ? AND deleted = 0 AND thread_id IN (SELECT value FROM json_each(?))
"""
_CREATE = """
INSERT OR IGNORE INTO threads (
    version, user_id, created_at, updated_at, head, deleted, condition, agent_id, line, title, metadata, tenant_id, thread_id
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', ?, ?)
"""
_ADVANCE = """
UPDATE threads SET version = ?, user_id = ?, created_at = ?, updated_at = ?, head = ?,
    deleted = ?, condition = ?, agent_id = ?, line = ?, title = '', metadata = ''
WHERE tenant_id = ? AND thread_id = ? AND version = ?
"""
_REMOVE = "DELETE FROM messages WHERE tenant_id = ? AND thread_id = ? AND seq >= ?"
_MESSAGE = "INSERT OR REPLACE INTO messages (tenant_id, thread_id, seq, body) VALUES (?, ?, ?, ?)"
_EVENT = "INSERT OR REPLACE INTO events (tenant_id, thread_id, seq, type, body) VALUES (?, ?, ?, ?, ?)"
_RUN = "INSERT OR REPLACE INTO runs (tenant_id, thread_id, run_id, last_seq, body) VALUES (?, ?, ?, ?, ?)"
_ERASE = tuple(
    f"DELETE FROM {table} WHERE tenant_id = ? AND thread_id = ?"
    for table in ("messages", "events", "runs", "state_rows", "open_inputs", "accepted_runs")
)
_EMPTY_INPUTS = "UPDATE inputs SET outputs = ? WHERE tenant_id = ? AND thread_id = ?"
_LISTS = "SELECT 1 FROM threads WHERE tenant_id = ? AND user_id = ? AND thread_id = ? AND deleted = 0"
_OWNED = """
SELECT user_id, thread_id, CASE WHEN deleted THEN updated_at END FROM threads WHERE tenant_id = ? ORDER BY user_id, thread_id
"""
_FORGET = (
    *_ERASE,
    *(f"DELETE FROM {table} WHERE tenant_id = ? AND thread_id = ?" for table in ("inputs", "threads")),
)
_ANNOUNCE = """
INSERT OR REPLACE INTO open_inputs (tenant_id, thread_id, input_id, begun, body, expires_at) VALUES (?, ?, ?, ?, ?, ?)
"""
_OPEN = "SELECT input_id, body FROM open_inputs WHERE tenant_id = ? AND thread_id = ? AND expires_at > ?"
_CLOSE = "DELETE FROM open_inputs WHERE tenant_id = ? AND thread_id = ? AND input_id = ?"
_UNACCEPT = "DELETE FROM accepted_runs WHERE tenant_id = ? AND thread_id = ? AND run_id = ?"
_PURGE_OPEN = "DELETE FROM open_inputs WHERE expires_at <= ?"
_ROW = "INSERT OR REPLACE INTO state_rows (tenant_id, thread_id, kind, seq, body) VALUES (?, ?, ?, ?, ?)"
_CHECKPOINTS = """
SELECT seq, body FROM state_rows
WHERE tenant_id = ? AND thread_id = ? AND kind = 'checkpoint' AND seq < ? ORDER BY seq DESC
"""
_VALUES = """
SELECT seq, body FROM state_rows
WHERE tenant_id = ? AND thread_id = ? AND kind = 'value' AND seq BETWEEN ? AND ? ORDER BY seq
"""
_INPUT = "INSERT OR REPLACE INTO inputs (tenant_id, thread_id, input_id, outputs, expires_at) VALUES (?, ?, ?, ?, ?)"
_PURGE = """
DELETE FROM inputs WHERE rowid IN (SELECT rowid FROM inputs WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""


class SqliteJournal(SqliteRuns, Journal):
    """A table for each kind of row."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)

    async def hydrate(
        self,
        tenant_id: str,
        thread_id: str,
        *,
        window: int,
        max_bytes: int | None = None,
        input_id: str | None = None,
    ) -> Hydrated:
        """See `state.Journal.hydrate`."""
        now = to_micros(self._now())

        def read(connection: sqlite3.Connection) -> Hydrated:
            key = (tenant_id, thread_id)
            row = connection.execute(_HEAD, key).fetchone()
            if row is None:
                return Hydrated(0, None, ())
            outputs = connection.execute(_OUTPUTS, (*key, input_id, now)).fetchone() if input_id is not None else None
            head = decode_head(self._codec, row[1], key)
            return Hydrated(
                version=row[0],
                head=head,
                messages=tuple(self._newest(connection, key, window, head.branch if head.forks else None, max_bytes)),
                outputs=outputs and decode_outputs(self._codec, outputs[0], key, input_id or ""),
            )

        return await self._readers.run(read)

    async def numbers(self, tenant_id: str, thread_id: str) -> tuple[int, int]:
        """See `state.Journal.numbers`."""
        key = (tenant_id, thread_id)
        row = await self._readers.run(lambda c: c.execute(_NUMBERS, (*key, *key)).fetchone())
        return row[0] or 0, row[1] or 0

    async def outputs_of(self, tenant_id: str, thread_id: str, input_id: str) -> bytes | None:
        """See `state.Journal.outputs_of`."""
        key = (tenant_id, thread_id, input_id, to_micros(self._now()))
        row = await self._readers.run(lambda c: c.execute(_OUTPUTS, key).fetchone())
        return None if row is None else decode_outputs(self._codec, row[0], key[:2], input_id)

    async def commit(self, tenant_id: str, thread_id: str, commit: Commit) -> Committed | AlreadyDone | Stale:
        """See `state.Journal.commit`."""
        now = to_micros(self._now())
        write = _Write(
            self._codec,
            (tenant_id, thread_id),
            commit,
            now=now,
            expires_at=now + self._ttl_micros,
        )
        return await self._writer.run(write, erases=commit.erase)

    async def messages(
        self,
        tenant_id: str,
        thread_id: str,
        *,
        before: int | None = None,
        limit: int = 100,
        max_bytes: int | None = None,
        spans: Sequence[Span] | None = None,
    ) -> Page[StoredMessage]:
        """See `state.Journal.messages`."""
        key = (tenant_id, thread_id)
        if before is not None:
            spans = below(before, [(1, before)] if spans is None else spans)
        return await self._readers.run(lambda c: self._newest(c, key, limit, spans, max_bytes))

    async def events(
        self, tenant_id: str, thread_id: str, *, since: int = 0, limit: int = 500, max_bytes: int = PAGE_BYTES
    ) -> Page[StoredEvent]:
        """See `state.Journal.events`."""
        key = (tenant_id, thread_id)
        return await self._readers.run(
            lambda c: paged(
                c.execute(_EVENTS, (*key, since)),
                lambda rows: decode_events(self._codec, rows, key),
                limit=limit,
                max_bytes=max_bytes,
                place=lambda row: row[0],
            )
        )

    async def places(self, tenant_id: str, user_id: str, *, limit: int = 10_000) -> list[ThreadPlace]:
        """See `state.Journal.places`."""
        wanted = (to_micros(self._now()), tenant_id, user_id, max(limit, 0))
        rows = await self._readers.run(lambda c: c.execute(_PLACES, wanted).fetchall())
        return [ThreadPlace(thread, from_micros(at), condition or "idle") for thread, at, condition in rows]

    async def count(self, tenant_id: str, user_id: str) -> Usage:
        """See `state.Journal.count`."""
        return Usage((await self._readers.run(lambda c: c.execute(_COUNT, (tenant_id, user_id)).fetchone()))[0])

    async def lines(self, tenant_id: str, user_id: str, thread_ids: Collection[str]) -> list[ThreadSummary]:
        """See `state.Journal.lines`."""
        wanted = (to_micros(self._now()), tenant_id, user_id, json.dumps(list(thread_ids)))
        found = await self._readers.run(
            lambda c: list(decode_summaries(self._codec, c.execute(_LINES, wanted), tenant_id, user_id))
        )
        return in_order(found, thread_ids)

    async def announce(self, tenant_id: str, thread_id: str, given: OpenInput) -> None:
        """See `state.Journal.announce`."""
        now, body = to_micros(self._now()), self._codec.encode(tenant_id, given.to_bytes())
        row = (tenant_id, thread_id, given.input_id, int(given.begun), body, now + OPEN_TTL * 1_000_000)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_ANNOUNCE, row)
            connection.execute(_PURGE_OPEN, (now,))

        await self._writer.run(write)

    async def withdraw(self, tenant_id: str, thread_id: str, input_id: str) -> None:
        """See `state.Journal.withdraw`."""
        key = (tenant_id, thread_id, input_id)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_CLOSE, key)
            connection.execute(_UNACCEPT, key)

        await self._writer.run(write)

    async def open_inputs(self, tenant_id: str, thread_id: str) -> list[OpenInput]:
        """See `state.Journal.open_inputs`."""
        key = (tenant_id, thread_id, to_micros(self._now()))
        rows = await self._readers.run(lambda c: c.execute(_OPEN, key).fetchall())
        return decode_opened(self._codec, rows, (tenant_id, thread_id))

    async def checkpoints(
        self, tenant_id: str, thread_id: str, *, before: int | None = None, limit: int = 50, max_bytes: int = PAGE_BYTES
    ) -> Page[StateRow]:
        """See `state.Journal.checkpoints`."""
        key = (tenant_id, thread_id)
        wanted = (*key, NO_SEQ if before is None else before)
        return await self._readers.run(
            lambda c: paged(
                c.execute(_CHECKPOINTS, wanted),
                lambda rows: iter(decode_rows(self._codec, "checkpoint", rows, key)),
                limit=limit,
                max_bytes=max_bytes,
                place=lambda row: row[0],
            )
        )

    async def values(
        self, tenant_id: str, thread_id: str, ranges: Sequence[tuple[int, int]], *, max_bytes: int | None = None
    ) -> list[StateRow]:
        """See `state.Journal.values`."""
        spans = merged(ranges)

        def read(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
            rows = (row for span in spans for row in connection.execute(_VALUES, (tenant_id, thread_id, *span)))
            return list(all_within(rows, max_bytes))

        return decode_rows(self._codec, "value", await self._readers.run(read), (tenant_id, thread_id))

    async def lists(self, tenant_id: str, user_id: str, thread_id: str) -> bool:
        """See `state.Journal.lists`."""
        key = (tenant_id, user_id, thread_id)
        return await self._readers.run(lambda c: c.execute(_LISTS, key).fetchone()) is not None

    async def owned(self, tenant_id: str) -> list[OwnedThread]:
        """See `state.Journal.owned`."""
        rows = await self._readers.run(lambda c: c.execute(_OWNED, (tenant_id,)).fetchall())
        return [OwnedThread(user, thread, None if at is None else from_micros(at)) for user, thread, at in rows]

    async def unlist(self, tenant_id: str, user_id: str | None, keep: Collection[str]) -> None:
        """See `state.Journal.unlist`. The list is read from the threads themselves."""

    async def forget(self, tenant_id: str, thread_id: str) -> None:
        """See `state.Journal.forget`."""
        key = (tenant_id, thread_id)
        await self._writer.run(lambda c: [c.execute(statement, key) for statement in _FORGET], erases=True)

    def _newest(
        self,
        connection: sqlite3.Connection,
        key: tuple[str, str],
        limit: int,
        spans: Sequence[Span] | None,
        max_bytes: int | None,
    ) -> Page[StoredMessage]:
        """The newest messages in these spans, or of all, oldest first."""
        if spans is None:
            rows: Iterator[tuple[int, Any]] = connection.execute(_NEWEST, key)
        else:
            rows = (row for span in reversed(spans) for row in connection.execute(_SPAN, (*key, *span)))
        taken = Taken(rows, max_bytes)
        found: list[StoredMessage] = []
        while len(found) < limit and (some := list(islice(taken, limit - len(found)))):
            found = [*decode_messages(self._codec, some[::-1], key), *found]
        return Page(found, following_row(taken, limit - len(found)))


class _Write:
    """One commit, encoded on the caller's thread; the writer's thread only runs the statements."""

    def __init__(
        self,
        codec: Codec,
        key: tuple[str, str],
        commit: Commit,
        *,
        now: int,
        expires_at: int,
    ) -> None:
        self._codec, self._key, self._commit, self._now = codec, key, commit, now
        head, encode = commit.head, partial(codec.encode, key[0])
        self._thread = (
            commit.expected_version + 1,
            head.user_id,
            to_micros(head.created_at),
            to_micros(head.updated_at),
            encode(head.to_bytes()),
            int(head.deleted),
            head.condition,
            head.agent_id,
            encode(line_body(head)),
        )
        self._messages = [(*key, m.seq, encode(m.to_bytes())) for m in commit.messages]
        self._events = [(*key, e.seq, e.type, encode(e.body.encode())) for e in commit.events]
        self._runs = [(*key, r.run_id, r.last_event, encode(r.to_bytes())) for r in commit.runs]
        self._rows = [(*key, row.kind, row.seq, encode(row.body)) for row in commit.rows]
        self._nothing = encode(encode_outputs((), "")) if commit.erase else b""
        self._input = (*key, commit.input_id, encode(commit.outputs), expires_at)

    def __call__(self, connection: sqlite3.Connection) -> Committed | AlreadyDone | Stale:
        done = connection.execute(_OUTPUTS, (*self._key, self._commit.input_id, self._now)).fetchone()
        if done is not None:
            return AlreadyDone(decode_outputs(self._codec, done[0], self._key, self._commit.input_id))
        if not self._advance(connection):
            return Stale()
        if self._commit.erase:
            for statement in _ERASE:
                connection.execute(statement, self._key)
            # That they were processed stays; nobody publishes what they gave any more.
            connection.execute(_EMPTY_INPUTS, (self._nothing, *self._key))
        if self._commit.remove_messages_from is not None:
            connection.execute(_REMOVE, (*self._key, self._commit.remove_messages_from))
        connection.executemany(_MESSAGE, self._messages)
        connection.executemany(_EVENT, self._events)
        connection.executemany(_RUN, self._runs)
        connection.executemany(_ROW, self._rows)
        if self._commit.final:
            connection.execute(_INPUT, self._input)
            if self._commit.announced:
                connection.execute(_CLOSE, self._input[:3])
        connection.execute(_PURGE, (self._now, PURGED_A_COMMIT))
        return Committed(self._commit.expected_version + 1)

    def _advance(self, connection: sqlite3.Connection) -> bool:
        expected = self._commit.expected_version
        if expected == 0:
            return connection.execute(_CREATE, (*self._thread, *self._key)).rowcount == 1
        return connection.execute(_ADVANCE, (*self._thread, *self._key, expected)).rowcount == 1
