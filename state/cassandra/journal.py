"""The threads: see `state.Journal`. One partition a thread, laid out in `migrations/0001_stores.cql`."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any, cast

from schemas import (
    Commit,
    Hydrated,
    OpenInput,
    Span,
    StoredEvent,
    StoredMessage,
    ThreadCondition,
    ThreadHead,
    ThreadSummary,
    TooLarge,
    encode_outputs,
    within,
)
from schemas.common.recent import Recent
from state.cassandra.graph_rows import GraphRows
from state.cassandra.keyspace import Keyspace
from state.cassandra.leftovers import FORGET_ACCEPTED, HEAD_SEQ, UNLIST
from state.cassandra.outcome import decided
from state.cassandra.promises import CLOSE, CLOSE_ALL, EMPTY_INPUT, MOST_IN
from state.cassandra.queries import Kind, Query
from state.cassandra.session import Rows, Session
from state.codec import Codec
from state.journal_rows import (
    decode_events,
    decode_head,
    decode_messages,
    decode_outputs,
    decode_summaries,
    following_row,
    in_order,
    line_body,
    summary,
)
from state.micros import from_micros, to_micros
from state.pages import PAGE_BYTES, Page, Taken, Usage
from state.spans import below
from state.stores.journal import AlreadyDone, Committed, Journal, Stale, ThreadPlace

log = logging.getLogger(__name__)

MOST_BYTES = 12 << 20
"""Bytes of one commit. Cassandra rejects a mutation or a request of more than 16 MiB (half a segment of its commit log)."""
_FIRST_MESSAGES = 16
"""Messages of the first read of a thread, where bytes count."""
_LINES_KEPT = 10_000
_ROW_KINDS = {"checkpoint": 4, "value": 5}

_THREAD = Query(
    Kind.READ,
    "SELECT version, seq, body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 1 AND seq <= ? LIMIT ?",
)
_SPAN = Query(
    Kind.READ,
    "SELECT seq, body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 1 AND seq >= ? AND seq <= ? LIMIT ?",
)
_OUTPUTS = Query(
    Kind.READ,
    "SELECT body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 0 AND seq = 0 AND id = ?",
)
_DECIDED = Query(
    Kind.SERIAL_READ,
    "SELECT version, kind, body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? "
    f"AND (kind, seq, id) IN ((0, 0, ?), (1, {HEAD_SEQ}, ''), (?, ?, ''))",
)
_EVENTS = Query(
    Kind.READ,
    "SELECT seq, type, body FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 2 AND seq > ? "
    "ORDER BY kind DESC, seq ASC, id DESC",
)
_ADVANCE = Query(
    Kind.CONDITIONAL, "UPDATE KEYSPACE.threads SET version = ? WHERE tenant_id = ? AND thread_id = ? IF version = ?"
)
_INPUT = Query(
    Kind.CONDITIONAL,
    "INSERT INTO KEYSPACE.threads (tenant_id, thread_id, kind, seq, id, body) VALUES (?, ?, 0, 0, ?, ?) "
    "IF NOT EXISTS USING TTL ?",
)
# A statement of a batch has to write something: this one deletes a column that inputs never have.
_NOT_PROCESSED = Query(
    Kind.CONDITIONAL,
    "DELETE type FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 0 AND seq = 0 AND id = ? "
    "IF body = null",
)
_MESSAGE = Query(
    Kind.WRITE, "INSERT INTO KEYSPACE.threads (tenant_id, thread_id, kind, seq, id, body) VALUES (?, ?, 1, ?, '', ?)"
)
_EVENT = Query(
    Kind.WRITE,
    "INSERT INTO KEYSPACE.threads (tenant_id, thread_id, kind, seq, id, type, body) VALUES (?, ?, 2, ?, '', ?, ?)",
)
_REMOVE = Query(
    Kind.WRITE,
    "DELETE FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 1 AND seq >= ? AND seq < ?",
)
_PLACES = Query(
    Kind.READ,
    "SELECT thread_id, created_at, updated_at, status FROM KEYSPACE.threads_by_user WHERE tenant_id = ? AND user_id = ?",
)
_COUNT = Query(Kind.READ, "SELECT count(created_at) FROM KEYSPACE.threads_by_user WHERE tenant_id = ? AND user_id = ?")
_LINES = Query(
    Kind.READ,
    "SELECT thread_id, created_at, updated_at, agent_id, status, line, title, metadata "
    "FROM KEYSPACE.threads_by_user WHERE tenant_id = ? AND user_id = ? AND thread_id IN ?",
)
_SUMMARY = Query(
    Kind.WRITE,
    "INSERT INTO KEYSPACE.threads_by_user "
    "(tenant_id, user_id, thread_id, created_at, updated_at, agent_id, status, line, title, metadata) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', null)",
)
_RUN = Query(
    Kind.WRITE, "INSERT INTO KEYSPACE.threads (tenant_id, thread_id, kind, seq, id, body) VALUES (?, ?, 3, 0, ?, ?)"
)
_ERASE_EVENTS = Query(
    Kind.WRITE, "DELETE FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 2 AND seq < ?"
)
_ERASE_RUNS = Query(Kind.WRITE, "DELETE FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = 3")
_ROW = Query(
    Kind.WRITE, "INSERT INTO KEYSPACE.threads (tenant_id, thread_id, kind, seq, id, body) VALUES (?, ?, ?, ?, '', ?)"
)
_ERASE_ROWS = Query(
    Kind.WRITE, "DELETE FROM KEYSPACE.threads WHERE tenant_id = ? AND thread_id = ? AND kind = ? AND seq < ?"
)


class CassandraJournal(GraphRows, Journal):
    """A partition a thread, and a row of its user's list."""

    def __init__(self, keyspace: Keyspace) -> None:
        super().__init__(keyspace)
        self._lines: Recent[tuple[str, str], ThreadSummary] = Recent(_LINES_KEPT)
        """The threads' rows in lists, without their times."""

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
        # The head is the first row of the slice that holds the messages: both are of the same moment.
        window = max(window, 0)
        first = window if max_bytes is None else min(window, _FIRST_MESSAGES)  # Cassandra counts no bytes
        thread = await self._session.start(_THREAD, tenant_id, thread_id, HEAD_SEQ, first + 1)
        stored: Rows = []
        if input_id is None:
            rows = await thread
        else:
            outputs = await self._session.start(_OUTPUTS, tenant_id, thread_id, input_id)
            rows, stored = await asyncio.gather(thread, outputs)
        if not rows:
            return Hydrated(0, None, ())
        key, (version, _, body) = (tenant_id, thread_id), rows[0]
        head, read = decode_head(self._codec, body, key), rows[1:]
        taken = Taken((row[1:] for row in read if not head.forks or within(row[1], head.branch)), max_bytes)
        messages: Sequence[StoredMessage] = decode_messages(self._codec, list(taken)[::-1], key)
        if len(messages) < window and 0 < len(read) == first and not taken.full:
            # The rest is behind another branch, behind what cannot be read, or further than was read at first.
            rest = below(read[-1][1], head.branch)
            messages = [*await self._in_spans(key, window - len(messages), rest, taken), *messages]
        return Hydrated(
            version=version,
            head=head,
            messages=tuple(messages),
            outputs=decode_outputs(self._codec, stored[0][0], key, input_id or "") if stored else None,
        )

    async def outputs_of(self, tenant_id: str, thread_id: str, input_id: str) -> bytes | None:
        """See `state.Journal.outputs_of`."""
        rows = await self._session.execute(_OUTPUTS, tenant_id, thread_id, input_id)
        return decode_outputs(self._codec, rows[0][0], (tenant_id, thread_id), input_id) if rows else None

    async def commit(self, tenant_id: str, thread_id: str, commit: Commit) -> Committed | AlreadyDone | Stale:
        """See `state.Journal.commit`."""
        processed = await self.processed(tenant_id, thread_id) if commit.erase else []
        turn = _Turn(self._session, self._codec, (tenant_id, thread_id), commit, self._ttl, processed)
        key, line = (tenant_id, thread_id), _line(thread_id, commit.head)
        listed = commit.expected_version == 0 or commit.head.run is None or self._lines.get(key) != line
        listed = listed or commit.announced  # the list may say that it is busy
        if not listed or not commit.final:  # a batch in the middle of a turn does not change the thread's status
            return await decided(turn.write, turn.look)
        outcome, listing = await asyncio.gather(
            decided(turn.write, turn.look), self._list(tenant_id, thread_id, commit.head), return_exceptions=True
        )
        if isinstance(outcome, BaseException):
            raise outcome
        if commit.erase and isinstance(outcome, Committed):
            await self._session.execute(FORGET_ACCEPTED, tenant_id, thread_id)
        if isinstance(listing, BaseException):
            # The turn is journaled, so that this must not fail it; the next one that is listed writes the same row.
            log.warning("the list of threads of %s/%s was not updated: %s", tenant_id, commit.head.user_id, listing)
            self._lines.pop(key, None)
        elif not isinstance(outcome, Committed):
            await self._list_as_stored(tenant_id, thread_id, commit.head)
        else:
            self._lines[key] = line
        return outcome

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
        if limit <= 0:
            return Page()
        newest = (HEAD_SEQ if before is None else before) - 1
        wanted = [(1, newest)] if spans is None else spans if before is None else below(before, spans)
        taken = Taken[Any]((), max_bytes)
        found = await self._in_spans((tenant_id, thread_id), limit, wanted, taken)
        return Page(found, following_row(taken, limit - len(found)))

    async def events(
        self, tenant_id: str, thread_id: str, *, since: int = 0, limit: int = 500, max_bytes: int = PAGE_BYTES
    ) -> Page[StoredEvent]:
        """See `state.Journal.events`."""
        found, taken = Page[StoredEvent](), Taken[Any]((), max_bytes)
        if limit <= 0:
            return found
        async for page in self._session.pages(_EVENTS, tenant_id, thread_id, since):
            for row in page:
                last = taken.last
                if len(found) >= limit or not taken.fits(row):
                    found.next = last[0] if last else None
                    return found
                found += decode_events(self._codec, [row], (tenant_id, thread_id))
        return found

    async def places(self, tenant_id: str, user_id: str, *, limit: int = 10_000) -> list[ThreadPlace]:
        """See `state.Journal.places`."""
        newest: list[tuple[int, str, str]] = []
        async for page in self._session.pages(_PLACES, tenant_id, user_id, size=5_000):
            # Without a time of its beginning only that it is busy came after it was deleted.
            there = ((-(at or 0), thread, state or "idle") for thread, made, at, state in page if made is not None)
            newest = heapq.nsmallest(max(limit, 0), [*newest, *there])
        return [ThreadPlace(thread, from_micros(-at), cast(ThreadCondition, state)) for at, thread, state in newest]

    async def count(self, tenant_id: str, user_id: str) -> Usage:
        """See `state.Journal.count`."""
        return Usage((await self._session.execute(_COUNT, tenant_id, user_id))[0][0])

    async def lines(self, tenant_id: str, user_id: str, thread_ids: Collection[str]) -> list[ThreadSummary]:
        """See `state.Journal.lines`."""
        wanted, found = list(thread_ids), list[ThreadSummary]()
        for n in range(0, len(wanted), MOST_IN):
            async for page in self._session.pages(_LINES, tenant_id, user_id, wanted[n : n + MOST_IN]):
                there = [row for row in page if row[1] is not None]
                found += decode_summaries(self._codec, there, tenant_id, user_id)
        return in_order(found, wanted)

    async def announce(self, tenant_id: str, thread_id: str, given: OpenInput) -> None:
        """See `state.Journal.announce`."""
        if given.begun:  # the turn's commit, or the next one that is not busy any more, writes the list's row again
            self._lines.pop((tenant_id, thread_id), None)
        await super().announce(tenant_id, thread_id, given)

    async def _in_spans(
        self, key: tuple[str, str], limit: int, spans: Sequence[Span], taken: Taken[Any]
    ) -> list[StoredMessage]:
        """The newest messages in these spans, as far as there is room. What a head's branch names is never changed, and goes only
        with a rollback."""
        found: list[StoredMessage] = []
        for first, last in reversed(spans):
            while (left := limit - len(found)) > 0 and not taken.full:
                count = 0
                async for page in self._session.pages(_SPAN, *key, first, last, left):
                    count, fitting = count + len(page), [row for row in page if not taken.full and taken.fits(row)]
                    found = [*decode_messages(self._codec, fitting[::-1], key), *found]
                    if taken.full:
                        break
                if count < left:
                    break
                last = taken.last[0] - 1 if taken.last else first
        return found

    async def _list(self, tenant_id: str, thread_id: str, head: ThreadHead) -> None:
        if head.deleted:
            await self._session.execute(UNLIST, tenant_id, head.user_id, thread_id)
            return
        created_at, updated_at = to_micros(head.created_at), to_micros(head.updated_at)
        line = self._codec.encode(tenant_id, line_body(head))
        row = (thread_id, created_at, updated_at, head.agent_id or None, head.condition, line)
        await self._session.execute(_SUMMARY, tenant_id, head.user_id, *row)

    async def _list_as_stored(self, tenant_id: str, thread_id: str, refused: ThreadHead) -> None:
        """Takes back what was written into the list beside a batch that was refused."""
        thread = await self.hydrate(tenant_id, thread_id, window=0)
        if thread.head is not None:
            await self._list(tenant_id, thread_id, thread.head)
        if thread.head is None or thread.head.user_id != refused.user_id:
            await self._session.execute(UNLIST, tenant_id, refused.user_id, thread_id)


def _line(thread_id: str, head: ThreadHead) -> ThreadSummary:
    """What a list must say: whether it is at work is not worth a write, that it waits for its user is."""
    line = summary(thread_id, head)
    condition = "idle" if line.condition == "busy" else line.condition
    return line.model_copy(update={"updated_at": line.created_at, "condition": condition})


class _Turn:
    """One commit: its conditional batch, and how to determine its outcome."""

    def __init__(
        self, session: Session, codec: Codec, key: tuple[str, str], commit: Commit, ttl: int, processed: Sequence[str]
    ) -> None:
        """`processed`: inputs whose outputs an erasure empties; that they were processed stays."""
        self._processed = processed
        self._session, self._codec, self._key, self._commit, self._ttl = session, codec, key, commit, ttl
        self._encode = partial(codec.encode, key[0])
        # What `look` compares is what was sent: encoded again it may be other bytes.
        self._head, self._outputs = self._encode(commit.head.to_bytes()), self._encode(commit.outputs)
        self._rows = [(_ROW_KINDS[row.kind], row.seq, self._encode(row.body)) for row in commit.rows]
        self._statements = list(self._batch())
        size = sum(len(value) for _, values in self._statements for value in values if isinstance(value, bytes))
        if size > MOST_BYTES:
            raise TooLarge(f"the batch has {size:,} bytes, and Cassandra takes {MOST_BYTES:,}")

    async def write(self) -> Committed | AlreadyDone | Stale:
        """Sends the batch. A refused one returns the row of the input when there is one, whatever the version is."""
        rows = await self._session.execute_batch(Kind.CONDITIONAL, self._statements)
        if rows[0]["[applied]"]:
            return Committed(self._commit.expected_version + 1)
        stored = next((row["body"] for row in rows if row.get("id") == self._commit.input_id), None)
        return Stale() if stored is None else self._done(stored)

    async def look(self) -> Committed | AlreadyDone | Stale | None:
        """The outcome of the batch; None if it was not applied but still could be."""
        commit, expected = self._commit, self._commit.expected_version
        # Who makes a superstep again may come to the same head, but not to the same checkpoint: its id is random.
        checkpoints = [row for row in self._rows if row[0] == _ROW_KINDS["checkpoint"]]
        kind, seq, body = next(iter(checkpoints or self._rows), (1, HEAD_SEQ, self._head))
        rows = await self._session.execute(_DECIDED, *self._key, commit.input_id, kind, seq)
        version = rows[0][0] if rows else 0
        bodies = {stored_kind: stored for _, stored_kind, stored in rows}
        outputs = bodies.get(0)
        ours = (expected + 1, self._head, self._outputs if commit.final else None, body)
        if (version, bodies.get(1), outputs, bodies.get(kind)) == ours:
            return Committed(version)
        if outputs is None:
            return None if version == expected else Stale()
        return self._done(outputs)

    def _done(self, stored: bytes) -> AlreadyDone:
        return AlreadyDone(decode_outputs(self._codec, stored, self._key, self._commit.input_id))

    def _batch(self) -> Iterator[tuple[Query, tuple[Any, ...]]]:
        commit, key = self._commit, self._key
        yield _ADVANCE, (commit.expected_version + 1, *key, commit.expected_version or None)
        if commit.final:
            yield _INPUT, (*key, commit.input_id, self._outputs, self._ttl)
            if commit.announced and not commit.erase:
                yield CLOSE, (*key, commit.input_id)
        else:
            yield _NOT_PROCESSED, (*key, commit.input_id)
        yield _MESSAGE, (*key, HEAD_SEQ, self._head)
        if commit.erase:
            yield _ERASE_RUNS, key
            yield CLOSE_ALL, key
            for other in self._processed:
                yield EMPTY_INPUT, (self._ttl, self._encode(encode_outputs((), "")), *key, other)
            yield _ERASE_EVENTS, (*key, min((e.seq for e in commit.events), default=HEAD_SEQ))
            first_row = min((row.seq for row in commit.rows), default=HEAD_SEQ)
            for kind in _ROW_KINDS.values():
                yield _ERASE_ROWS, (*key, kind, first_row)
        if commit.remove_messages_from is not None:
            # Statements of a batch share one timestamp, at which a delete wins over an insert: it goes around them.
            start = commit.remove_messages_from
            for end in sorted({m.seq for m in commit.messages if m.seq >= start} | {HEAD_SEQ}):
                if start < end:
                    yield _REMOVE, (*key, start, end)
                start = end + 1
        for message in commit.messages:
            yield _MESSAGE, (*key, message.seq, self._encode(message.to_bytes()))
        for run in commit.runs:
            yield _RUN, (*key, run.run_id, self._encode(run.to_bytes()))
        for event in commit.events:
            yield _EVENT, (*key, event.seq, event.type, self._encode(event.body.encode()))
        for row in self._rows:
            yield _ROW, (*key, *row)
