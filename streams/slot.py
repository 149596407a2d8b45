"""A slot: partition p of all input topics of a group, while this worker owns it.

The slot's producer has the transactional id `<group>-<p>`, so a new owner fences the old one by starting its own. The
slot publishes outputs and commits offsets together, in groups, a few milliseconds apart.

    opening ──> open <──> suspended        revoked, and perhaps coming back in the same rebalance
                  │           │
                  └──> closed <┘           lost: running work is dropped, the next owner finds it in the journal
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.structs import OffsetAndMetadata

from schemas import Output, Topic
from schemas.common.metrics import RuntimeMetrics
from schemas.common.recent import Backoff
from schemas.common.serving import ServingTask, is_order
from streams.contract import Group, Publication
from streams.dead_letters import smaller
from streams.kafka_clients import KafkaClients, acknowledged, close_producer, enqueue, leave
from streams.offsets import OffsetTracker, decode_completed
from streams.runtime_options import RuntimeOptions

log = logging.getLogger("cauce.streams")

MAX_UNPUBLISHED = 8
"""Records of one key that are processed ahead of their publishing: a thread's head names them all."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A record that is done, and what is to be published with its offset."""

    partition: TopicPartition
    offset: int
    outputs: tuple[Output, ...]
    key: bytes | None = None
    awaited: bool = True
    """Somebody waits for it to be published."""
    at: float = field(default_factory=time.perf_counter)


class Slot:
    """One ownership of a slot. All methods belong to the event loop's thread."""

    def __init__(
        self,
        group: Group,
        number: int,
        *,
        clients: KafkaClients,
        options: RuntimeOptions,
        metrics: RuntimeMetrics,
        on_progress: Callable[[], None],
    ) -> None:
        self.group, self.number = group.name, number
        self.partitions = tuple(TopicPartition(topic, number) for topic in group.topics)
        self.trackers: dict[TopicPartition, OffsetTracker] = {}
        self.suspect_below: dict[TopicPartition, int] = {}
        """Records below were in the log when the slot was taken: a previous owner may have died of them."""
        self.fresh = False
        """Nobody has ever committed anything for it."""
        self.closed = False
        self._clients, self._options, self._metrics, self._on_progress = clients, options, metrics, on_progress
        self._linger, self._relaxed = options.publish_linger, options.relaxed_linger_of(group)
        self._producer: AIOKafkaProducer | None = None
        self._broken = False
        """The producer's last transaction failed: whatever it left open, another producer has to settle."""
        self._ready: list[Finished] = []
        self._pending: set[tuple[TopicPartition, int]] = set()
        self._unpublished: Counter[bytes | None] = Counter()
        """What `_ready` has, by position, and how much by key."""
        self._published = asyncio.Event()
        self._wake, self._hurry = asyncio.Event(), asyncio.Event()
        self._open = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._bringing_up = asyncio.Lock()
        """A bring-up that a rebalance has overtaken may still be on its way when the next one begins."""
        self._publisher = ServingTask(f"the publisher of slot {group.name}-{number}", self._publish_forever)

    @property
    def is_open(self) -> bool:
        """Whether records may be taken in and results published."""
        return self._open.is_set() and not self.closed

    @property
    def unpublished(self) -> int:
        """Finished records whose offsets are not committed yet."""
        return len(self._ready)

    async def open(self, log_ends: Mapping[TopicPartition, int]) -> None:
        """Fences the previous owner and reads what is committed; `admit` then opens the gate.

        `log_ends` are the ends of the partitions now. Raises what the clients raise; it can be called again then.
        """
        started = time.perf_counter()
        async with self._bringing_up:
            await self._take_over()
        self.suspect_below = dict(log_ends)
        if not self._publisher.running:
            self._publisher.start()
        self._metrics.slot_open_seconds.labels(self.group).observe(time.perf_counter() - started)

    def admit(self) -> None:
        """Opens the gate: records may come, results may go."""
        self._open.set()
        if self._ready:
            self._wake.set()

    async def wait_open(self) -> bool:
        """Waits while the slot is suspended. False once it is closed."""
        await self._open.wait()
        return not self.closed

    def finish(self, finished: Finished) -> None:
        """Hands over a finished record for the next transaction; one that an owner in between has published is dropped."""
        if not self.closed and not self.trackers[finished.partition].is_done(finished.offset):
            self._ready.append(finished)
            self._pending.add((finished.partition, finished.offset))
            self._unpublished[finished.key] += 1
            self._wake.set()
            if finished.awaited:
                self._hurry.set()

    def publication(self, tp: TopicPartition, offset: int) -> Publication:
        """What is known about the outputs of a record."""
        if (tp, offset) in self._pending:
            return Publication.PENDING
        tracker = self.trackers.get(tp)
        if tracker is None or self.closed:
            return Publication.PENDING
        return Publication.COMMITTED if tracker.is_done(offset) else Publication.MISSING

    async def room(self, key: bytes | None) -> bool:
        """Waits while `MAX_UNPUBLISHED` records of one key are unpublished. False once the slot is closed.

        Within one topic, records are redelivered in order, and the unpublished ones need not be remembered.
        """
        while len(self.partitions) > 1 and self._unpublished[key] >= MAX_UNPUBLISHED and not self.closed:
            self._published.clear()
            self._hurry.set()
            await self._published.wait()
        return not self.closed

    async def suspend(self) -> None:
        """Stops publishing; waits for a running transaction, but not forever."""
        self._open.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.suspend_seconds):
                async with self._publishing:
                    pass

    async def resume(self) -> None:
        """Learns where things stand after a rebalance that gave the slot back; `admit` then opens the gate.

        Nobody else can have owned it in between, unless this worker had been thrown out: what is committed decides.
        """
        async with self._bringing_up, self._publishing:
            await (self._take_over() if self._broken or self._producer is None else self._refresh())

    async def drain(self) -> None:
        """Publishes what is finished, for a graceful stop."""
        while self._ready and not self.closed:
            self._wake.set()
            self._hurry.set()
            await asyncio.sleep(self._linger)
            async with self._publishing:
                pass

    async def close(self) -> None:
        """Closes the slot. Unpublished outputs are dropped: the next owner finds them in the journal."""
        self.closed = True
        self._open.set()  # whoever waits for the gate, or for room, learns that it is over
        self._published.set()
        await self._publisher.stop()
        if self._producer:
            producer, self._producer = self._producer, None
            await close_producer(producer)

    async def _take_over(self) -> None:
        if self._producer:
            producer, self._producer = self._producer, None
            await close_producer(producer, 2)
        self._producer = await self._clients.transactional_producer(f"{self.group}-{self.number}")
        self._broken = False
        await self._refresh()

    async def _refresh(self) -> None:
        """Learns what is committed, by us or by an owner in between, and drops results that are published already."""
        committed = await self._clients.committed(self.group, self.partitions)
        self.fresh = not any(found.offset >= 0 for found in committed.values())
        settled: dict[TopicPartition, tuple[int, frozenset[int]]] = {}
        for tp in self.partitions:
            found = committed.get(tp)
            position = max(0, found.offset) if found else 0
            completed = decode_completed(position, found.metadata) if found else frozenset()
            settled[tp] = (position, completed)
            if tp in self.trackers:
                self.trackers[tp].absorb(position, completed)
            else:
                self.trackers[tp] = OffsetTracker(position, completed)
        self._keep(
            [f for f in self._ready if f.offset >= settled[f.partition][0] and f.offset not in settled[f.partition][1]]
        )

    async def _publish_forever(self) -> None:
        while True:
            await self._gather()
            await self._open.wait()
            async with self._publishing:
                if not self._open.is_set() or not self._ready:
                    self._wake.set() if self._ready else None
                    continue
                try:
                    async with self._clients.transactions, asyncio.timeout(self._options.transaction_seconds):
                        await self._transact()
                except BaseException as error:
                    if is_order(error):
                        raise
                    self._broken = True
                    self._metrics.transaction_failures.labels(self.group, type(error).__name__).inc()
                    log.warning("slot %s-%d: transaction failed: %r", self.group, self.number, error)
                    await self._recover()
            self._on_progress()

    async def _gather(self) -> None:
        """Waits until something is finished, and then for what belongs into the same transaction."""
        await self._wake.wait()
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._relaxed - self._linger):
                await self._hurry.wait()
        self._hurry.clear()
        await asyncio.sleep(self._linger)

    async def _transact(self) -> None:
        """Outputs and offsets of everything that is finished, in one transaction."""
        assert self._producer, "the slot is open"
        started = time.perf_counter()
        batch = list(self._ready)
        for f in batch:
            self.trackers[f.partition].finish(f.offset)
        offsets = {
            tp: OffsetAndMetadata(*self.trackers[tp].snapshot()) for tp in dict.fromkeys(f.partition for f in batch)
        }
        producer = self._producer
        await producer.begin_transaction()
        outputs = [(finished, output) for finished in batch for output in finished.outputs]
        acks = list[asyncio.Future[object]]()
        try:
            for finished, output in outputs:
                with self._smaller_if_refused(finished, output):
                    acks.append(await enqueue(producer, output))
            await producer.send_offsets_to_transaction(offsets, self.group)
            # aiokafka commits offsets also where the broker has refused a record of the transaction.
            for (finished, output), result in zip(outputs, await acknowledged(acks), strict=True):
                if isinstance(result, BaseException):
                    with self._smaller_if_refused(finished, output):
                        raise result
            await producer.commit_transaction()
        finally:
            leave(acks)
        published = {id(f) for f in batch}
        self._keep([f for f in self._ready if id(f) not in published])
        self._metrics.transaction_seconds.labels(self.group).observe(time.perf_counter() - started)
        self._metrics.committed_records.labels(self.group).inc(len(batch))
        committed = time.perf_counter()
        for f in batch:
            self._metrics.publish_seconds.labels(self.group).observe(committed - f.at)

    @contextlib.contextmanager
    def _smaller_if_refused(self, finished: Finished, output: Output) -> Iterator[None]:
        try:
            yield
        except MessageSizeTooLargeError:
            if output.topic is Topic.DEAD_LETTERS:
                self._make_smaller(finished, output)
            raise

    def _make_smaller(self, finished: Finished, letter: Output) -> None:
        """Kafka refused a dead letter as too large, for good: it is cut, and in the end left out, or its record would
        hold its partition. Another output waits until this installation's Kafka takes it: it is the answer to somebody."""
        less = smaller(letter)
        log.critical(
            "slot %s-%d: Kafka refuses a dead letter of %d bytes as too large (max.message.bytes of %s); that of %s/%d/%d is %s",
            *(self.group, self.number, len(letter.value), letter.topic.value),
            *(finished.partition.topic, finished.partition.partition, finished.offset),
            "cut" if less else "left out",
        )
        outputs = tuple(one for o in finished.outputs if (one := less if o is letter else o))
        self._ready = [replace(f, outputs=outputs) if f is finished else f for f in self._ready]

    def _keep(self, left: list[Finished]) -> None:
        """The rest is published."""
        self._ready, self._unpublished = left, Counter(f.key for f in left)
        self._pending = {(f.partition, f.offset) for f in left}
        self._published.set()

    async def _recover(self) -> None:
        """After a failed transaction: a new producer settles it, and what is committed shows whether it counted.

        A fenced producer means that another worker took the slot; the rebalance that reports this is on its
        way, and the pause leaves it time to come.
        """
        backoff = Backoff(max(self._options.backoff, 1.0), self._options.max_backoff)
        while self._open.is_set() and not self.closed:
            await asyncio.sleep(backoff.next())
            if not self._open.is_set() or self.closed:
                return
            try:
                await self._take_over()
            except BaseException as error:
                if is_order(error):
                    raise
                log.warning("slot %s-%d: still not able to publish: %r", self.group, self.number, error)
                continue
            self._wake.set()
            return
