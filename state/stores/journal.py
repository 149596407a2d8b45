"""The journal of every thread, and how its rows are read."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from schemas import (
    AcceptedRun,
    Commit,
    Hydrated,
    OpenInput,
    Span,
    StateRow,
    StoredEvent,
    StoredMessage,
    StoredRun,
    ThreadCondition,
    ThreadSummary,
    UnreadableRow,
)
from state.journal_rows import Key
from state.keeping import Piece, StoreHolding
from state.pages import PAGE_BYTES, Page, Usage

INPUT_TTL = 8 * 24 * 3600
"""Seconds that the outputs of a processed input are kept: a day longer than the topics keep the input itself."""

REPEATS = timedelta(seconds=INPUT_TTL)
"""How long a topic may have a record again, so that what its repeat is known by must stay."""

OPEN_TTL = 6 * 3600
"""Seconds that an open input counts at most: longer than any turn, and an answer that was lost on its way may be given again."""

log = logging.getLogger("cauce.state")

_ALL, _PAGE, _VALUES_A_PAGE = 1_000_000, 500, 16


@dataclass(frozen=True, slots=True)
class Committed:
    """The batch was applied; the thread has this version now."""

    version: int


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """The input was in the journal before; nothing was written. These are its stored outputs."""

    outputs: bytes


@dataclass(frozen=True, slots=True, order=True)
class OwnedThread:
    """A thread as whoever erases it sees it."""

    user_id: str
    """Empty where nothing that can be read says whose it is."""
    thread_id: str
    deleted_at: datetime | None = None
    """None for one that is not deleted."""


@dataclass(frozen=True, slots=True)
class ThreadPlace:
    """Where a thread stands in its user's list."""

    thread_id: str
    updated_at: datetime
    condition: ThreadCondition


@dataclass(frozen=True, slots=True)
class Stale:
    """Another writer moved the thread on; nothing was written. Hydrate again."""


class Journal(Protocol):
    """The threads. All writes of one turn are one conditional single-partition batch."""

    async def hydrate(
        self,
        tenant_id: str,
        thread_id: str,
        *,
        window: int,
        max_bytes: int | None = None,
        input_id: str | None = None,
    ) -> Hydrated:
        """Reads the head, at most `window` newest messages of its branch, as far as they have `max_bytes`, and the stored outputs
        of `input_id`. The newest message is there however large it is."""
        ...

    async def numbers(self, tenant_id: str, thread_id: str) -> tuple[int, int]:
        """The thread's version and the number of its newest event, 0 for none: all that erasing a thread takes, also where its
        head cannot be read."""
        ...

    async def outputs_of(self, tenant_id: str, thread_id: str, input_id: str) -> bytes | None:
        """The stored outputs of a processed input; None when it was not processed or its record expired."""
        ...

    async def commit(self, tenant_id: str, thread_id: str, commit: Commit) -> Committed | AlreadyDone | Stale:
        """Applies the batch if the version is the expected one and the input is new; all of it or nothing.

        Also keeps the user's list of threads up to date (that row is not part of the condition, and is written when a
        thread is made, when its title changes and when a run ends, not by every turn). A lost answer is looked up;
        `OutcomeUnknown` is raised only when that fails too: the caller then hydrates again. `TooLarge` is raised before
        anything is written, for more than the store takes in one batch (12 MiB in Cassandra, no limit in SQLite).
        """
        ...

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
        """At most `limit` messages with sequence numbers below `before`, the newest of them, oldest first.

        Of all branches, or with numbers in these spans (in ascending order).
        """
        ...

    async def events(
        self, tenant_id: str, thread_id: str, *, since: int = 0, limit: int = 500, max_bytes: int = PAGE_BYTES
    ) -> Page[StoredEvent]:
        """A page of events with sequence numbers above `since`, in order."""
        ...

    async def places(self, tenant_id: str, user_id: str, *, limit: int = 10_000) -> list[ThreadPlace]:
        """Where the user's threads that are not deleted stand in the list, at most `limit`, the last changed first: ids and times
        only, without titles and metadata."""
        ...

    async def count(self, tenant_id: str, user_id: str) -> Usage:
        """How many threads the user has that are not deleted."""
        ...

    async def lines(self, tenant_id: str, user_id: str, thread_ids: Collection[str]) -> list[ThreadSummary]:
        """The lines of these threads in the user's list, those that there are, in the order of the given ids. Each has some 20 KB
        at most: the caller asks for as many as it has room for."""
        ...

    async def accept(self, tenant_id: str, thread_id: str, run: AcceptedRun) -> None:
        """Keeps what was promised about a run, for as long as its record may wait to be read once it has begun."""
        ...

    async def accepted(
        self, tenant_id: str, thread_id: str, *, run_id: str, details: bool = True
    ) -> AcceptedRun | None:
        """The accepted run of this id, with its details or without."""
        ...

    async def accepted_ids(self, tenant_id: str, thread_id: str, *, limit: int = 1000) -> list[str]:
        """Ids of a thread's accepted runs, at most `limit`: the one that may begin last first."""
        ...

    async def promises(
        self, tenant_id: str, thread_id: str, run_ids: Collection[str], *, max_bytes: int = PAGE_BYTES
    ) -> list[AcceptedRun]:
        """The accepted runs with these ids, without their details, as far as they fit into `max_bytes`: rows of older versions
        have the details in their bodies, and some of those may not fit."""
        ...

    async def announce(self, tenant_id: str, thread_id: str, given: OpenInput) -> None:
        """Keeps or replaces what readers are to know of an input that has no turn yet, for some hours at most.

        One that was `begun` makes the thread `busy` in its user's list, where the thread is in it.
        """
        ...

    async def withdraw(self, tenant_id: str, thread_id: str, input_id: str) -> None:
        """Forgets an open input, or the run that was accepted with its id: it was not sent."""
        ...

    async def open_inputs(self, tenant_id: str, thread_id: str) -> list[OpenInput]:
        """Inputs that were announced and of which no commit said that they are done, oldest first.

        One may be in the journal all the same: look (`outputs_of`) before believing it.
        """
        ...

    async def runs(
        self,
        tenant_id: str,
        thread_id: str,
        *,
        run_id: str | None = None,
        before: int | None = None,
        limit: int = 100,
        max_bytes: int = PAGE_BYTES,
    ) -> Page[StoredRun]:
        """A page of runs that are over, the newest of those that ended before this event, in order of their ends; or the one of
        this id. Cassandra reads all runs of the thread for a page, and keeps no more than that."""
        ...

    async def ended(self, tenant_id: str, thread_id: str, run_ids: Collection[str]) -> set[str]:
        """Which of these runs are over."""
        ...

    async def checkpoints(
        self, tenant_id: str, thread_id: str, *, before: int | None = None, limit: int = 50, max_bytes: int = PAGE_BYTES
    ) -> Page[StateRow]:
        """A page of rows of the kind `checkpoint` with numbers below `before`, the newest first."""
        ...

    async def values(
        self, tenant_id: str, thread_id: str, ranges: Sequence[tuple[int, int]], *, max_bytes: int | None = None
    ) -> list[StateRow]:
        """The rows of the kind `value` with numbers in these ranges (both ends included), by number. Raises `TooLarge` where they
        have more than `max_bytes`: a state is read as a whole or not at all."""
        ...

    async def lists(self, tenant_id: str, user_id: str, thread_id: str) -> bool:
        """Whether the user's list has this thread, also where the row cannot be read."""
        ...

    async def owned(self, tenant_id: str) -> list[OwnedThread]:
        """All threads of a tenant, by user and id, also those whose rows cannot be read. Cassandra reads the keys of all tenants
        for it, and every head of this one."""
        ...

    async def unlist(self, tenant_id: str, user_id: str | None, keep: Collection[str]) -> None:
        """Removes all but these threads from a user's list, or from those of all users, where late writes listed deleted ones."""
        ...

    async def forget(self, tenant_id: str, thread_id: str) -> None:
        """Removes all rows of a thread. A later input would recreate it, so no topic may still contain one."""
        ...


def kept_from(run: AcceptedRun, now: datetime) -> datetime:
    """From when on the time counts that an accepted run is kept: one that is to begin later is kept until after that."""
    return max(now, run.begins_at or now)


async def _copy(journal: Journal, tenant_id: str, user_id: str | None) -> AsyncIterator[Piece]:
    for thread in await journal.owned(tenant_id):
        if thread.deleted_at is None and user_id in (None, thread.user_id):
            try:
                async for piece in _thread_copy(journal, (tenant_id, thread.thread_id)):
                    yield piece
            except UnreadableRow as error:
                log.warning("left out of a copy: %s", error)


async def _thread_copy(journal: Journal, key: Key) -> AsyncIterator[Piece]:
    of, before, since = f"threads/{key[1]}", None, 0
    head = (await journal.hydrate(*key, window=0)).head
    if head is not None:
        yield Piece(of, head.to_bytes())
    more = True
    while more:
        messages = await journal.messages(*key, before=before, limit=_PAGE, max_bytes=PAGE_BYTES)
        for message in messages:
            yield Piece(f"{of}/messages/{message.seq}", message.to_bytes())
        before, more = messages.next, messages.next is not None
    more = True
    while more:
        events = await journal.events(*key, since=since, limit=_PAGE)
        for event in events:
            yield Piece(f"{of}/events/{event.seq}", event.body.encode())
        since, more = events.next, events.next is not None
    before, more = None, True
    while more:
        runs = await journal.runs(*key, before=before)
        for run in reversed(runs):
            yield Piece(f"{of}/runs/{run.run_id}", run.to_bytes())
        before, more = runs.next, runs.next is not None
    for run_id in await journal.accepted_ids(*key, limit=_ALL):
        if accepted := await journal.accepted(*key, run_id=run_id):
            yield Piece(f"{of}/accepted/{run_id}", accepted.to_bytes())
    before, more = None, True
    while more:
        rows = await journal.checkpoints(*key, before=before)
        for row in rows:
            yield Piece(f"{of}/checkpoints/{row.seq}", row.body)
        before, more = rows.next, rows.next is not None
    newest = head.next_row - 1 if head else 0
    for first in range(1, newest + 1, _VALUES_A_PAGE):
        for row in await journal.values(*key, [(first, first + _VALUES_A_PAGE - 1)]):
            yield Piece(f"{of}/values/{row.seq}", row.body)


async def _erase(journal: Journal, tenant_id: str, user_id: str | None, before: datetime) -> None:
    mine = [thread for thread in await journal.owned(tenant_id) if user_id in (None, thread.user_id)]
    for thread in mine:
        if thread.deleted_at is not None and thread.deleted_at < before:
            await journal.forget(tenant_id, thread.thread_id)
    await journal.unlist(tenant_id, user_id, {thread.thread_id for thread in mine if thread.deleted_at is None})


HOLDING = StoreHolding(
    name="journal",
    kind="store",
    user="Threads: messages, results, the states of graphs, runs, and titles and metadata in lists.",
    exported="Heads, messages, events, runs and rows of states of every thread that is not deleted.",
    erased=(
        "Immediately: the thread is deleted as its user would delete it, with accepted runs and the outputs of inputs. A trace "
        "without content stays for 8 days, so that no record from a topic recreates it or is processed again. Erasing again "
        "after that removes the rest."
    ),
    tables=(
        "threads",
        "threads_by_user",
        "messages",
        "events",
        "inputs",
        "runs",
        "state_rows",
        "accepted_runs",
        "open_inputs",
    ),
    copy=_copy,
    erase=_erase,
)
