"""One partition: its segments, what producers wrote last, and its open and aborted transactions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from schemas.common.recent import Recent
from streams.batches import Batch, commits, first_at_or_after, placed, read_header
from streams.embedded.segment import Segment
from streams.embedded.wire import Error

REMEMBERED_BATCHES = 5
"""Batches of a producer that are known again when they come twice, as in Apache Kafka."""
PRODUCERS = 10_000
"""Idempotent producers remembered for a partition; the longest silent is forgotten first."""


@dataclass
class _ProducerState:
    epoch: int
    recent: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED_BATCHES))
    """First and last sequence and base offset of its newest batches."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """A transaction that ended without effect: records from `first` to `last` of this producer are to be skipped."""

    producer_id: int
    first: int
    last: int


class PartitionLog:
    """An append-only log of batches. `start` is the first offset kept, `end` the next one to be given.

    The age of a batch counts from when it was accepted (`clock`, in milliseconds), not from its own timestamps: a producer
    whose clock is wrong, or a batch that has become unreadable, is kept as long as all others.
    """

    def __init__(self, folder: Path, *, segment_bytes: int, verify: bool, clock: Callable[[], int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._clock = folder, clock
        self.segment_bytes = segment_bytes
        self.open: dict[int, int] = {}
        """First offset of each open transaction, by producer id."""
        self.aborted: list[Aborted] = []
        self._producers: Recent[int, _ProducerState] = Recent(PRODUCERS)
        self._waiters: set[asyncio.Future[None]] = set()
        self.dirty = False
        self._segments: list[Segment] = []
        self.end = 0
        paths = sorted(folder.glob("*.log"))
        for path in paths:
            segment = Segment(path, int(path.stem))
            for header, head in segment.recover(verify=verify and path is paths[-1]):
                self._note(header, head)
            self._segments.append(segment)
        if not self._segments:
            self._roll()
        self.start = self._segments[0].base

    @property
    def last_stable(self) -> int:
        """Readers of committed records get nothing from here on."""
        return min(self.open.values(), default=self.end)

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(s.size for s in self._segments)

    def check_producer(self, batch: Batch) -> tuple[Error, int]:
        """Whether an idempotent batch may be appended; the old offset when it is a repetition (then nothing is appended)."""
        state = self._producers.get(batch.producer_id)
        last_sequence = batch.sequence + batch.last_delta
        if state is None or batch.epoch > state.epoch:
            return (Error.NONE if batch.sequence == 0 or state is None else Error.OUT_OF_ORDER_SEQUENCE), -1
        if batch.epoch < state.epoch:
            return Error.PRODUCER_FENCED, -1
        for first, last, base in state.recent:
            if (first, last) == (batch.sequence, last_sequence):
                return Error.NONE, base
        wanted = (state.recent[-1][1] + 1) % (1 << 31) if state.recent else 0
        return (Error.NONE if batch.sequence == wanted else Error.OUT_OF_ORDER_SEQUENCE), -1

    def append(self, data: bytes) -> int:
        """Adds a checked batch at the end and returns its offset. Raises `OSError` when the disk does not take it."""
        data = placed(data, self.end)
        header = read_header(data)
        assert header
        if self._segments[-1].size >= self.segment_bytes:
            self._roll()
        self._segments[-1].append(data, header, self._clock())
        self._note(header, data)
        self.dirty = True
        self.wake()
        return header.base

    def _note(self, header: Batch, head: bytes) -> None:
        self.end = header.last + 1
        if header.is_control:
            first = self.open.pop(header.producer_id, None)
            if first is not None and not commits(head):
                self.aborted.append(Aborted(header.producer_id, first, header.base))
            return
        if header.is_transactional:
            self.open.setdefault(header.producer_id, header.base)
        if header.producer_id >= 0:
            state = self._producers.get(header.producer_id)
            if state is None or state.epoch != header.epoch:
                state = _ProducerState(header.epoch)
            state.recent.append((header.sequence, header.sequence + header.last_delta, header.base))
            self._producers[header.producer_id] = state

    def read(self, offset: int, limit: int, max_bytes: int) -> bytes:
        """Whole batches from `offset` on and below `limit`; empty when there are none."""
        if not self.start <= offset < limit:
            return b""
        for position in range(len(self._segments) - 1, -1, -1):
            if self._segments[position].base <= offset or position == 0:
                for segment in self._segments[position:]:
                    if data := segment.read(offset, limit, max_bytes):
                        return data
        return b""

    def aborted_from(self, offset: int) -> list[tuple[int, int]]:
        """Producer id and first offset of the aborted transactions that reach to `offset` or beyond."""
        return [(a.producer_id, a.first) for a in self.aborted if a.last >= offset]

    def find_time(self, timestamp: int) -> tuple[int, int] | None:
        """Timestamp and offset of the first record that is not older than `timestamp` (milliseconds)."""
        for segment in self._segments:
            if segment.max_timestamp < timestamp:
                continue
            for header, data in segment.batches(self.start):
                if header.max_timestamp < timestamp or header.is_control:
                    continue
                try:
                    found = first_at_or_after(data, timestamp)
                except Exception:  # a batch that cannot be read, which its readers will report
                    found = header.max_timestamp, header.base
                if found:
                    return found
        return None

    def delete_before(self, offset: int) -> None:
        """Makes everything below `offset` unreadable and removes the segments that hold nothing else."""
        self.start = max(self.start, min(offset, self.end))
        while len(self._segments) > 1 and self._segments[1].base <= self.start:
            self._segments.pop(0).delete()
        self.aborted = [a for a in self.aborted if a.last >= self.start]

    def retain(self, *, oldest_ms: int | None, max_bytes: int | None) -> None:
        """Removes whole segments that are older than a point in time (milliseconds) or too many."""
        kept = self.size
        while len(self._segments) > 1:
            first = self._segments[0]
            too_old = oldest_ms is not None and first.written_ms < oldest_ms
            too_many = max_bytes is not None and kept - first.size >= max_bytes
            if not (too_old or too_many):
                break
            kept -= first.size
            self.delete_before(self._segments[1].base)

    def roll_if_older(self, oldest_ms: int) -> None:
        """Begins a new segment when the newest batch of the last one is older, so that time can remove it."""
        last = self._segments[-1]
        if last.size and last.written_ms < oldest_ms and not self.open:
            self._roll()

    def _roll(self) -> None:
        if self._segments:
            self._segments[-1].sync()
        self._segments.append(Segment(self._folder / f"{self.end:020}.log", self.end))

    def wake(self) -> None:
        """Lets waiting fetches look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def watch(self, waiter: asyncio.Future[None]) -> None:
        """Sets the future's result with the next change."""
        self._waiters.add(waiter)

    def unwatch(self, waiter: asyncio.Future[None]) -> None:
        """Forgets the future."""
        self._waiters.discard(waiter)

    def sync(self) -> None:
        """Makes what was written survive a loss of power."""
        self.dirty = False
        self._segments[-1].sync()

    def close(self) -> None:
        """Closes all files."""
        for segment in self._segments:
            segment.close()

    def delete(self) -> None:
        """Removes all files."""
        for segment in self._segments:
            segment.delete()
        self._folder.rmdir()
