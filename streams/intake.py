"""What a group takes in: polling, what a budget or an unreadable record holds back, and reading again what a poll has lost.

The rule: the consumer's position means nothing by itself. Reading resumes where the partition's `OffsetTracker`
says that intake ended; after anything that may have moved the consumer beyond, it seeks back to there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError

from schemas import RawRecord
from schemas.common.clock import utc_now
from schemas.common.metrics import RuntimeMetrics
from streams.dead_letters import dead_letter_outputs
from streams.kafka_clients import KafkaClients
from streams.offsets import MAX_SPAN
from streams.raw_reading import Stretch, Unreadable
from streams.runtime_options import RuntimeOptions
from streams.slot import Finished, Slot
from streams.unpacking import shared_room
from streams.unreadable import LOOK_SECONDS, Next, Stalls, UnreadablePartitions, is_in_order

log = logging.getLogger("cauce.streams")

POLL_MS = 250
"""Longest single wait for records; a slot that opens in the meantime is polled that much later at most."""
POLL_RECORDS = 500
STASH_BYTES = 2 << 20
"""As much as is kept of a partition while a budget is full: all that one fetch brings, unless it was compressed."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    """Records of a partition, and the offset up to which there is nothing else."""

    records: deque[RawRecord]
    end: int


class Intake:
    """Polls one group's consumer. Its methods belong to the event loop's thread."""

    def __init__(
        self,
        group: str,
        *,
        consumer: Callable[[], AIOKafkaConsumer],
        clients: KafkaClients,
        options: RuntimeOptions,
        metrics: RuntimeMetrics,
        slot_of: Callable[[TopicPartition], Slot | None],
        full: Callable[[Slot, TopicPartition, int], str | None],
        admit: Callable[[Slot, TopicPartition, RawRecord], None],
        taken: Callable[[], None],
        progress: asyncio.Event,
    ) -> None:
        """`slot_of` a partition that may be read, `full` names the budget that has no room for an offset of it, `admit` takes
        one record and `taken` is called after several; `progress` is set when there may be room."""
        self._group, self._consumer, self._clients = group, consumer, clients
        self._options, self._metrics = options, metrics
        self._slot_of, self._full, self._admit, self._taken, self._progress = slot_of, full, admit, taken, progress
        self._stash: dict[TopicPartition, _Fetched] = {}
        """What was fetched before a budget was found full; its partitions are paused."""
        self._adrift: set[TopicPartition] = set()
        """Partitions whose consumer may have gone further than what was taken in."""
        self._unreadable = UnreadablePartitions(
            group, looks=options.looks, backoff=options.backoff, max_backoff=options.max_backoff
        )
        self._stalls = Stalls(options.stall_seconds)
        self._stopping = False
        self.last_poll = time.monotonic()

    def stop(self) -> None:
        """Takes nothing more in."""
        self._stopping = True
        self._progress.set()

    def forget(self) -> None:
        """All partitions were taken away. Those that come back are sought before they are polled."""
        self._stash.clear()
        self._unreadable.clear()

    def trouble(self) -> str | None:
        """What cannot be read, as text; None if everything can be read."""
        return self._unreadable.trouble()

    async def run(self) -> None:
        """Polls until the task is cancelled or `stop` is called."""
        consumer = self._consumer()
        self._adrift.update(consumer.assignment())
        while not self._stopping:
            self.last_poll = time.monotonic()
            self._unstash()
            await self._look_closer()
            ready = self._pollable(consumer)
            if not ready:
                self._progress.clear()
                await _wait(self._progress.wait(), POLL_MS / 1000)
                continue
            # aiokafka drains partitions and moves their positions before it raises for another one: until the poll has
            # returned nobody knows what it has taken. (Polling them one by one would wait for each one that is idle.)
            self._adrift.update(ready)
            try:
                with shared_room():
                    fetched = await consumer.getmany(*ready, timeout_ms=POLL_MS, max_records=POLL_RECORDS)
                ends = {tp: await consumer.position(tp) for tp in fetched}
            except NoOffsetForPartitionError:
                # A rebalance during the poll: the consumer asked Kafka for a position that we have not sought yet.
                continue
            except Exception as error:
                self._metrics.polls_failed.labels(self._group, type(error).__name__).inc()
                self._unreadable.poll_failed(repr(error))
                for tp in ready:
                    self._hold(tp)
                continue
            self._adrift.difference_update(ready)
            self._unreadable.polled()
            for tp, records in fetched.items():
                if is_in_order(records, ends[tp]):
                    self._take_in(tp, _Fetched(deque(map(_raw, records)), ends[tp]))
                else:
                    self._hold(tp)
            for tp in await self._stalls.among(ready, consumer):
                self._hold(tp)

    def _pollable(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        ready = []
        for tp in consumer.assignment():
            slot = self._slot_of(tp)
            if tp in self._stash or tp in self._unreadable or slot is None:
                continue
            if tp in self._adrift:
                self._rewind(slot, tp)
            ready.append(tp)
        return ready

    def _rewind(self, slot: Slot, tp: TopicPartition) -> None:
        self._consumer().seek(tp, slot.trackers[tp].read)
        self._adrift.discard(tp)

    def _hold(self, tp: TopicPartition) -> None:
        """Takes a partition out of polling until it was looked at."""
        self._unreadable.hold(tp)
        self._adrift.add(tp)
        if tp in self._consumer().assignment():
            self._consumer().pause(tp)

    async def _look_closer(self) -> None:
        """Takes in what the partitions that are held have, and decides on what cannot be read."""
        due = [tp for tp in self._unreadable.due(time.monotonic()) if tp not in self._stash]
        slots = {tp: slot for tp in due if (slot := self._slot_of(tp))}
        wanted = {tp: slot.trackers[tp].read for tp, slot in slots.items()}
        if not wanted:
            return
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                found = await self._clients.look(wanted)
        except (KafkaError, TimeoutError) as error:
            self._unreadable.later(wanted, time.monotonic(), repr(error))
            return
        for tp, stretch in found.items():
            slot = slots[tp]
            if self._slot_of(tp) is not slot or tp not in self._unreadable:
                continue  # a rebalance came in between
            self._take_in(tp, _Fetched(deque(stretch.records), stretch.end))
            if tp not in self._stash:
                await self._decide(slot, tp, stretch)
        self._metrics.unreadable.labels(self._group).set(len(self._unreadable))

    async def _decide(self, slot: Slot, tp: TopicPartition, stretch: Stretch) -> None:
        decision = self._unreadable.saw(tp, stretch, time.monotonic())
        if decision is Next.WAIT:
            return
        if decision is Next.FIND and not await self._skip_deleted(slot, tp):
            self._unreadable.cut_off(tp, slot.trackers[tp].read, time.monotonic())
            return
        if decision is Next.GIVE_UP and stretch.unreadable:
            self._give_up(slot, tp, stretch.unreadable)
        self._unreadable.release(tp)
        if tp in self._consumer().assignment() and tp not in self._stash:
            self._consumer().resume(tp)

    def _give_up(self, slot: Slot, tp: TopicPartition, unreadable: Unreadable) -> None:
        """What cannot be read becomes one dead letter, in the transaction that its offsets are committed with."""
        tracker, last = slot.trackers[tp], unreadable.end - 1
        reason = f"cannot be read (offsets {unreadable.first} to {last}): {unreadable.reason}"
        raw = RawRecord(tp.topic, tp.partition, unreadable.first, unreadable.timestamp_ms, None, unreadable.data)
        outputs = tuple(
            dead_letter_outputs(
                raw,
                group=self._group,
                reason=reason,
                attempts=self._options.looks,
                at=utc_now(),
                through=last,
            )
        )
        for offset in range(unreadable.first, min(unreadable.end, unreadable.first + MAX_SPAN)):
            if tracker.deliver(offset):  # not so where a previous owner could read it
                slot.finish(Finished(tp, offset, outputs))
                outputs = ()
        tracker.read_to(unreadable.end)
        if not outputs:
            self._metrics.unreadable_given_up.labels(self._group, tp.topic).inc()
            self._metrics.dead_letters.labels(self._group, tp.topic).inc()
            log.error("group %s: %s/%d: dead-lettered what %s", self._group, tp.topic, tp.partition, reason)

    async def _skip_deleted(self, slot: Slot, tp: TopicPartition) -> bool:
        """Goes to the log's beginning where that has passed what was read. False where it has not."""
        with contextlib.suppress(KafkaError):
            beginnings = await self._consumer().beginning_offsets([tp])
            return self.begin_at(slot, tp, beginnings[tp])
        return False

    def begin_at(self, slot: Slot, tp: TopicPartition, beginning: int) -> bool:
        """Notes where the log begins. True where that is behind what was read: then records were deleted unread."""
        tracker = slot.trackers[tp]
        lost = beginning - tracker.read
        if lost > 0 and not (slot.fresh and tracker.read == 0):
            self._metrics.offsets_lost.labels(self._group, tp.topic).inc(lost)
            log.error(
                "group %s: %s/%d was deleted from offset %d to %d before it was read: its retention is too short",
                *(self._group, tp.topic, tp.partition, tracker.read, beginning - 1),
            )
        tracker.read_to(beginning)
        return lost > 0

    def _kept(self, tp: TopicPartition, fetched: _Fetched) -> _Fetched:
        """The first of the records, at least one and `STASH_BYTES` at most; those behind are read again."""
        size = 0
        for number, record in enumerate(fetched.records):
            size += len(record.key or b"") + len(record.value or b"")
            if number and size > STASH_BYTES:
                self._adrift.add(tp)
                return _Fetched(deque(islice(fetched.records, number)), fetched.records[number - 1].offset + 1)
        return fetched

    def _unstash(self) -> None:
        for tp, fetched in list(self._stash.items()):
            del self._stash[tp]
            self._take_in(tp, fetched)
            if tp not in self._stash and tp not in self._unreadable and tp in self._consumer().assignment():
                self._consumer().resume(tp)

    def _take_in(self, tp: TopicPartition, fetched: _Fetched) -> None:
        """What was read in one pass from where the tracker says that reading resumes."""
        slot = self._slot_of(tp)
        if slot is None:
            return  # fetched for an owner that is gone; the slot's next owner reads from what is committed
        tracker, records = slot.trackers[tp], fetched.records
        while records:
            tracker.read_to(records[0].offset)
            if budget := self._full(slot, tp, records[0].offset):
                self._stash[tp] = self._kept(tp, fetched)
                if tp in self._consumer().assignment():
                    self._consumer().pause(tp)
                self._metrics.intake_stopped.labels(self._group, budget).inc()
                break
            self._admit(slot, tp, records.popleft())
        else:
            tracker.read_to(fetched.end)
        self._taken()


def _raw(record: ConsumerRecord) -> RawRecord:
    return RawRecord(
        record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, record.headers
    )


async def _wait(work: Awaitable[object], seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(work, seconds)
