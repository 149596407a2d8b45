"""The rows of one thread as a leg sees them: those of the journal, read on demand, and the new ones."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from connectors.graphs.state_rows import (
    LARGEST_ROW,
    BrokenState,
    CheckpointRow,
    RowReader,
    RowTooLarge,
    WritesRow,
    body_of,
    row_of,
)
from schemas import StateRow
from state import merged

log = logging.getLogger(__name__)

_FIRST_PAGE, _LARGEST_PAGE = 50, 800
_GAP = 16
"""Up to this many rows between two needed ones, a single longer read is cheaper than two reads."""

may_wait: ContextVar[bool] = ContextVar("may_wait", default=True)
"""False if the caller cannot await: then `WouldWait` is raised instead of reading from the journal."""


class WouldWait(Exception):
    """Rows of the journal are needed that have not been read yet."""


@dataclass(frozen=True, slots=True)
class Floor:
    """A lower bound for a search: a checkpoint, by namespace and id. None as id: the journal has no match."""

    namespace: str
    checkpoint_id: str | None


class ThreadRows:
    """Reads through a `RowReader`, and keeps new rows until they are committed.

    Asynchronous methods run on one event loop only; the others may also be called from other threads, hence the second lock.
    Rows of the journal with numbers of `next_row` and above were written by another writer: the commit of a leg that sees them
    is rejected.
    """

    def __init__(self, reader: RowReader, next_row: int) -> None:
        self._reader = reader
        self._of = getattr(reader, "of", "")
        self._next_row = next_row
        self._staged: list[StateRow] = []
        self._given = 0
        self._fresh: list[CheckpointRow] = []
        """Checkpoints of this leg, oldest first."""
        self._old: list[CheckpointRow | BrokenState] = []
        """Checkpoints read from the journal, newest first; an error in place of a row that cannot be read."""
        self._index: dict[tuple[str, str], CheckpointRow] = {}
        self._writes: dict[tuple[str, str], list[WritesRow]] = {}
        """Writes to existing checkpoints, in the order in which they were written."""
        self._early: dict[tuple[str, str], list[WritesRow]] = {}
        """Writes to checkpoints that do not exist yet."""
        self._bodies: dict[int, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        self._reading = asyncio.Lock()
        self._changing = threading.RLock()
        self._before = next_row if next_row > 1 else None
        self._page = _FIRST_PAGE
        self._rows_read = 0
        self._all_read = False

    # New rows

    @property
    def next_row(self) -> int:
        """The number of the next row."""
        return self._next_row

    def staged(self, before: int | None = None) -> tuple[StateRow, ...]:
        """New rows since the last `committed`: all, or those with numbers below `before`."""
        with self._changing:
            given = [row for row in self._staged if before is None or row.seq < before]
            self._given = len(given)
            return tuple(given)

    def committed(self) -> None:
        """Drops the rows that `staged` returned last."""
        with self._changing:
            del self._staged[: self._given]
            self._given = 0

    def add_value(self, body: bytes, channel: str) -> int:
        """The number of the row with these bytes, which is added if it does not exist. Raises `RowTooLarge`."""
        with self._changing:
            if (number := self._numbers.get(body)) is None:
                number = self._add("value", body, f"the value of the channel {channel!r}")
                self._keep(number, body)
            return number

    def add_checkpoint(self, row: CheckpointRow) -> None:
        """Adds a checkpoint, and the writes to it that arrived before it."""
        body = body_of(row)
        kept = row_of(body)  # LangGraph continues to modify the dictionaries that it passed
        assert isinstance(kept, CheckpointRow)
        with self._changing:
            self._add("checkpoint", body, "a checkpoint without its values")
            self._fresh.append(kept)
            self._index[kept.key] = kept
            for early in self._early.pop(kept.key, ()):
                self._add_writes(early)

    def add_writes(self, row: WritesRow) -> None:
        """Adds writes; they are staged together with their checkpoint, since whoever reads it must also find them."""
        with self._changing:
            if row.key in self._index:
                self._add_writes(row)
            else:
                self._early.setdefault(row.key, []).append(row)

    def _add_writes(self, row: WritesRow) -> None:
        channels = ", ".join(repr(channel) for _, channel, _ in row.writes)
        self._add("checkpoint", body_of(row), f"the write of a task to {channels}")
        self._writes.setdefault(row.key, []).append(row)

    def _add(self, kind: Literal["checkpoint", "value"], body: bytes, what: str) -> int:
        if len(body) > LARGEST_ROW:
            raise RowTooLarge(
                f"{what} has {len(body):,} bytes, and a row of a graph's state holds {LARGEST_ROW:,} at most. Keep large data "
                "outside the state, in a store or a file, and its name in the state."
            )
        number = self._next_row
        self._staged.append(StateRow(seq=number, kind=kind, body=body))
        self._next_row += 1
        return number

    # Reading

    def known(self, namespace: str, checkpoint_id: str) -> CheckpointRow | None:
        """A checkpoint among the new ones and those read already."""
        return self._index.get((namespace, checkpoint_id))

    def has_read(self, namespace: str) -> bool:
        """Whether a checkpoint of this namespace was read or added, which implies that the newest one was."""
        return self._all_read or any(getattr(row, "namespace", None) == namespace for row in self._old)

    def writes_of(self, namespace: str, checkpoint_id: str) -> list[WritesRow]:
        """The writes to a checkpoint, which may not exist yet, in the order in which they were written."""
        key = (namespace, checkpoint_id)
        return [*self._writes.get(key, ()), *self._early.get(key, ())]

    async def find(
        self, namespace: str, checkpoint_id: str | None = None, floor: Floor | None = None
    ) -> CheckpointRow | None:
        """The checkpoint with this id, or the newest of the namespace. Raises `BrokenState` if a newer row cannot be read: it may
        be the one that was requested, and resuming from an older one would repeat side effects."""
        if checkpoint_id is not None and (row := self.known(namespace, checkpoint_id)):
            return row
        async for row in self.newest_first(floor, strict=checkpoint_id is None):
            if row.namespace == namespace and checkpoint_id in (None, row.checkpoint_id):
                return row
        return None

    async def newest_first(self, floor: Floor | None = None, *, strict: bool = False) -> AsyncIterator[CheckpointRow]:
        """All checkpoints above the floor, each once, newest first.

        Rows that cannot be read are skipped, with a line in the log; with `strict` they raise `BrokenState`.
        """
        seen: set[tuple[str, str]] = set()
        for row in reversed(self._fresh.copy()):
            if floor and row.key == (floor.namespace, floor.checkpoint_id):
                return
            if row.key not in seen:
                seen.add(row.key)
                yield row
        if floor and floor.checkpoint_id is None:
            return
        at = 0
        while True:
            while at < len(self._old):
                old, at = self._old[at], at + 1
                if isinstance(old, BrokenState):
                    if strict:
                        raise old
                    log.warning("skipped in a history: %s", old)
                    continue
                row = old
                if floor and row.key == (floor.namespace, floor.checkpoint_id):
                    return
                if row.key not in seen:
                    yield row
            if self._all_read:
                return
            await self._read_on(self._rows_read)

    async def _read_on(self, rows_read: int) -> None:
        if not may_wait.get():
            raise WouldWait
        async with self._reading:
            if self._rows_read != rows_read:
                return  # another caller has read more in the meantime
            page = await self._reader.checkpoints(before=self._before, limit=self._page)
            self._all_read = page.next is None
            self._page = min(self._page * 2, _LARGEST_PAGE)
            with self._changing:
                for stored in page:
                    self._take(stored)
            self._before = page.next
            self._rows_read += len(page)

    def _take(self, stored: StateRow) -> None:
        try:
            row = row_of(stored.body)
        except BrokenState as error:
            self._old.append(BrokenState(f"{error}: number {stored.seq}{self._of}"))
            return
        if isinstance(row, WritesRow):
            self._writes.setdefault(row.key, []).insert(0, row)
        elif row.key not in self._index:
            self._index[row.key] = row
            self._old.append(row)

    async def load(self, numbers: Iterable[int]) -> Mapping[int, bytes]:
        """The value rows with these numbers, by number, read in few ranges. Raises `BrokenState` if one is missing."""
        wanted = set(numbers)
        if missing := wanted - self._bodies.keys():
            if not may_wait.get():
                raise WouldWait
            rows = await self._reader.values(merged(((number, number) for number in missing), gap=_GAP))
            with self._changing:
                for row in rows:
                    self._keep(row.seq, row.body)
        if gone := wanted - self._bodies.keys():
            raise BrokenState(f"the journal lacks row {min(gone)} of a graph's state, which a checkpoint refers to")
        return self._bodies

    def _keep(self, number: int, body: bytes) -> None:
        self._bodies.setdefault(number, body)
        self._numbers.setdefault(body, number)
