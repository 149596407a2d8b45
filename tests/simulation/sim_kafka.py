"""A broker as its clients see it: logs, transactions with markers that are written later, groups with sessions.

The rules are those that the conformance suite holds Apache Kafka and the embedded broker to. What is left out: several
brokers, retention, batches of more than one record. What cannot be read is a property of the log here, wherever it comes from
in life: bytes that are broken, on the disk or on the way, or a codec that a worker lacks for a while.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import InvalidProducerEpoch, UnknownMemberIdError
from aiokafka.structs import OffsetAndMetadata
from sim_loop import EPOCH, VirtualLoop

NOTHING = OffsetAndMetadata(-1, "")


class ConcurrentTransactions(Exception):
    """The markers of the last transaction are still being written: ask again."""


@dataclass(slots=True)
class Entry:
    """One place of a log. `value` is None and `marker` set for the end of a transaction."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int
    transaction: Transaction | None
    marker: bool = False
    unreadable_until: float = 0.0
    """Readers fail on it before this moment; forever where it is infinite."""
    curable: bool = False
    """It is compressed with what a library is missing for, which somebody installs."""

    @property
    def is_there(self) -> bool:
        """Whether readers of committed records get it: no marker, not aborted, not removed by compaction."""
        return not self.marker and (self.transaction is None or self.transaction.state == "committed")

    @property
    def is_lost(self) -> bool:
        """Whether nobody will ever read it."""
        return self.unreadable_until == math.inf


@dataclass(eq=False, slots=True)
class Transaction:
    """`open`, then `ending` while markers are written, then `committed` or `aborted`."""

    began: float
    state: str = "open"
    commits: bool = False
    first: dict[TopicPartition, int] = field(default_factory=dict)
    offsets: dict[tuple[str, TopicPartition], OffsetAndMetadata] = field(default_factory=dict)


@dataclass(slots=True)
class _Id:
    """A transactional id."""

    epoch: int = 0
    transaction: Transaction | None = None


@dataclass(slots=True)
class _Member:
    last_heard: float
    joined: asyncio.Future[list[TopicPartition]] | None = None


@dataclass(slots=True)
class _Group:
    topics: Sequence[str]
    generation: int = 0
    joining_since: float | None = None
    members: dict[str, _Member] = field(default_factory=dict)


class SimKafka:
    """All methods happen at one moment, at the server."""

    def __init__(self, loop: VirtualLoop, partitions: dict[str, int], *, session: float, transaction_timeout: float):
        self._loop, self._session, self._transaction_timeout = loop, session, transaction_timeout
        self.logs: dict[TopicPartition, list[Entry]] = {
            TopicPartition(topic, p): [] for topic, count in partitions.items() for p in range(count)
        }
        self._counts = partitions
        self._ids: dict[str, _Id] = {}
        self._groups: dict[str, _Group] = {}
        self._open: dict[TopicPartition, list[Transaction]] = {tp: [] for tp in self.logs}
        self.committed: dict[tuple[str, TopicPartition], OffsetAndMetadata] = {}
        self.loading_until = 0.0
        self.watched: dict[str, list[asyncio.Event]] = {topic: [] for topic in partitions}
        """Set when something is written to the topic."""
        self.history: list[tuple[str, TopicPartition, OffsetAndMetadata]] = []
        """Every offset that was ever committed."""
        self.silent: dict[TopicPartition, float] = {}
        """Partitions that are not given out before a moment: the broker answers with an error that aiokafka does not raise."""

    # ---- logs

    def append(self, tp: TopicPartition, key: bytes | None, value: bytes | None, headers: Any) -> int:
        """Without a transaction."""
        return self._write(tp, Entry(key, value, tuple(headers), self._now_ms(), None))

    def _write(self, tp: TopicPartition, entry: Entry) -> int:
        self.logs[tp].append(entry)
        for watched in self.watched[tp.topic]:
            watched.set()
        return len(self.logs[tp]) - 1

    def stable(self, tp: TopicPartition) -> int:
        """The offset up to which readers of committed records get."""
        return min((t.first[tp] for t in self._open[tp]), default=len(self.logs[tp]))

    def read(self, tp: TopicPartition, position: int, limit: int) -> tuple[list[tuple[int, Entry]], int]:
        """Committed records from a position on, and the position after them."""
        found, log, end = list[tuple[int, Entry]](), self.logs[tp], self.stable(tp)
        while position < end and len(found) < limit:
            entry = log[position]
            if entry.is_there:
                found.append((position, entry))
            position += 1
        return found, position

    def fetch(
        self, tp: TopicPartition, position: int, limit: int
    ) -> tuple[list[tuple[int, Entry]], int, tuple[int, Entry] | None]:
        """As `read`, up to what cannot be read now, which is the third."""
        found, end = self.read(tp, position, limit)
        for n, (offset, entry) in enumerate(found):
            if entry.unreadable_until > self._loop.now:
                return found[:n], offset, (offset, entry)
        return found, end, None

    def put(self, tp: TopicPartition, entry: Entry) -> int:
        """What no client of ours writes."""
        return self._write(tp, entry)

    def partition_of(self, topic: str, key: bytes | None) -> TopicPartition:
        """By key. Not Kafka's hash, which does not matter here."""
        return TopicPartition(topic, sum(key or b"") % self._counts[topic])

    # ---- transactions

    def init(self, transactional_id: str) -> int:
        """A new epoch; what older ones left open is ended. Raises `ConcurrentTransactions` while markers are written."""
        known = self._ids.setdefault(transactional_id, _Id())
        if known.transaction and known.transaction.state == "open":
            known.epoch += 1
            self._end(known, commits=False)
        if known.transaction and known.transaction.state == "ending":
            raise ConcurrentTransactions
        known.epoch += 1
        return known.epoch

    def produce(self, tid: str, epoch: int, tp: TopicPartition, key: bytes | None, value: bytes, headers: Any) -> int:
        """Into the id's transaction, which begins here when none is open."""
        transaction = self._current(tid, epoch)
        offset = self._write(tp, Entry(key, value, tuple(headers), self._now_ms(), transaction))
        if tp not in transaction.first:
            transaction.first[tp] = offset
            self._open[tp].append(transaction)
        return offset

    def offsets(self, tid: str, epoch: int, group: str, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        """Offsets that count once the transaction is committed."""
        transaction = self._current(tid, epoch)
        transaction.offsets.update({(group, tp): found for tp, found in offsets.items()})

    def end(self, tid: str, epoch: int, *, commits: bool) -> None:
        """Decides the transaction. Its markers are written a little later, and only then it counts."""
        known = self._fenced(tid, epoch)
        if known.transaction and known.transaction.state == "open":
            self._end(known, commits=commits)

    def _current(self, tid: str, epoch: int) -> Transaction:
        known = self._fenced(tid, epoch)
        if known.transaction and known.transaction.state == "ending":
            raise ConcurrentTransactions
        if known.transaction is None or known.transaction.state != "open":
            known.transaction = Transaction(self._loop.now)
            self._loop.world(self._transaction_timeout, self._expire, known, known.transaction)
        return known.transaction

    def _fenced(self, tid: str, epoch: int) -> _Id:
        known = self._ids[tid]
        if known.epoch != epoch:
            raise InvalidProducerEpoch
        return known

    def _expire(self, known: _Id, transaction: Transaction) -> None:
        if known.transaction is transaction and transaction.state == "open":
            known.epoch += 1
            self._end(known, commits=False)

    def _end(self, known: _Id, *, commits: bool) -> None:
        transaction = known.transaction
        assert transaction
        transaction.state, transaction.commits = "ending", commits
        slow = self._loop.random.random() < 0.05
        delay = self._loop.random.random() * (1.0 if slow else 0.005)
        self._loop.world(delay, self._mark, transaction)

    def _mark(self, transaction: Transaction) -> None:
        transaction.state = "committed" if transaction.commits else "aborted"
        for tp in transaction.first:
            self._open[tp].remove(transaction)
            self._write(tp, Entry(None, None, (), self._now_ms(), transaction, marker=True))
        if transaction.commits:
            for (group, tp), found in transaction.offsets.items():
                self.committed[group, tp] = found
                self.history.append((group, tp, found))

    # ---- groups

    def fetch_offsets(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """What is committed; while the coordinator loads, an answer without the partitions, as aiokafka gives it."""
        if self._loop.now < self.loading_until:
            return {}
        return {tp: self.committed.get((group, tp), NOTHING) for tp in partitions}

    def join(self, group: str, member: str, topics: Sequence[str]) -> asyncio.Future[list[TopicPartition]]:
        """The member's partitions, once all members have joined or were waited for long enough."""
        found = self._groups.setdefault(group, _Group(topics))
        if found.joining_since is None:
            found.joining_since = self._loop.now
        known = found.members.setdefault(member, _Member(self._loop.now))
        known.last_heard = self._loop.now
        # The same request again, or one that comes late: whoever asked last must not be forgotten.
        known.joined = known.joined or self._loop.create_future()
        self._loop.world(self._session, self._expire_member, group, member)
        # Kafka waits a little for more members of a group that was empty.
        self._loop.world(0.01, self._complete, group)
        return known.joined

    def heartbeat(self, group: str, member: str, generation: int) -> bool:
        """False when the member must join again. Raises `UnknownMemberIdError` when it was thrown out."""
        found = self._groups[group]
        if member not in found.members:
            raise UnknownMemberIdError
        found.members[member].last_heard = self._loop.now
        self._loop.world(self._session, self._expire_member, group, member)
        return found.joining_since is None and generation == found.generation

    def generation(self, group: str) -> int:
        """The group's generation."""
        return self._groups[group].generation

    def leave(self, group: str, member: str) -> None:
        """The member is gone."""
        found = self._groups[group]
        if found.members.pop(member, None):
            found.joining_since = found.joining_since or self._loop.now
            self._complete(group)

    def _expire_member(self, group: str, member: str) -> None:
        found = self._groups[group]
        known = found.members.get(member)
        if known and known.last_heard + self._session <= self._loop.now + 1e-9 and not known.joined:
            self.leave(group, member)

    def _complete(self, group: str) -> None:
        found = self._groups[group]
        if found.joining_since is None or not all(m.joined for m in found.members.values()):
            return
        found.joining_since = None
        found.generation += 1
        members = sorted(found.members)
        for topic in found.topics[:1]:
            for n, member in enumerate(members):
                numbers = [p for p in range(self._counts[topic]) if p * len(members) // self._counts[topic] == n]
                assigned = [TopicPartition(t, p) for t in found.topics for p in numbers]
                known = found.members[member]
                joined, known.joined = known.joined, None
                known.last_heard = self._loop.now
                self._loop.world(self._session, self._expire_member, group, member)
                assert joined
                if not joined.done():
                    joined.set_result(assigned)

    def coordinator_moves(self, seconds: float) -> None:
        """The coordinator restarts: it does not know what is committed until it has loaded."""
        self.loading_until = self._loop.now + seconds

    def _now_ms(self) -> int:
        return int((EPOCH + self._loop.now) * 1000)
