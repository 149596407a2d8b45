"""One processor group in one worker: takes records in, runs them in keyed lanes, hands results to their slots.

The way of a record: `Intake` polls it, `_admit` puts it into the lane of its key, `_run` processes it when its turn
comes, `Slot.finish` queues it for the slot's next transaction.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from schemas import TOPICS, Delivery, Output, RawRecord
from schemas.common.metrics import RuntimeMetrics
from schemas.common.recent import Backoff
from schemas.common.serving import ItemFailures, is_order
from schemas.common.turns import serve
from streams.contract import Group, Processor, Publication
from streams.growth import until_settled
from streams.held_records import HeldRecord, Holdings
from streams.intake import Intake
from streams.kafka_clients import KafkaClients
from streams.lanes import Lanes
from streams.offsets import MAX_SPAN
from streams.runtime_options import RuntimeOptions
from streams.slot import Finished, Slot

log = logging.getLogger("cauce.streams")


class Handler(Protocol):
    """Brings one record to its end: outputs to publish, dead letter included. Raises only `asyncio.CancelledError`."""

    async def __call__(
        self, raw: RawRecord, *, suspect: bool, failed: int, let_go: Callable[[], bool]
    ) -> Sequence[Output]:
        """`suspect`: a previous owner may have died of the record. `failed`: so often was it begun here and ended
        without an order. `let_go`: whether there is an order now, a stop or the loss of the slot."""
        ...


class GroupRuntime(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """The lanes, slots and budgets of one group. Its methods belong to the event loop's thread."""

    def __init__(
        self,
        group: Group,
        processor: Processor,
        handler: Handler,
        *,
        consumer: Callable[[], AIOKafkaConsumer],
        clients: KafkaClients,
        options: RuntimeOptions,
        metrics: RuntimeMetrics,
    ) -> None:
        self.group, self.topics, self._spec = group.name, group.topics, group
        self._processor, self._handler = processor, handler
        self._clients, self._options, self._metrics = clients, options, metrics
        self._lanes: Lanes[HeldRecord] = Lanes(
            max_running=options.max_running, tenant_running=options.tenant_share, user_running=options.user_share
        )
        self._slots: dict[int, Slot] = {}
        self._limbo: dict[int, Slot] = {}
        """Slots that a rebalance took away and may return."""
        self._tasks: dict[asyncio.Task[None], HeldRecord] = {}
        self._openings: set[asyncio.Task[None]] = set()
        self._bring_ups: dict[int, asyncio.Task[None]] = {}
        """The one that counts of each slot: a slot that comes and goes may have several on their way."""
        self._holdings = Holdings(group.name, clients, options, spills=self._spec.in_order)
        self._progress = asyncio.Event()
        self._failures = ItemFailures(f"the intake of {group.name}")
        self._stopping = False
        self._consumer_of = consumer
        self._intake = Intake(
            group.name,
            consumer=consumer,
            clients=clients,
            options=options,
            metrics=metrics,
            slot_of=self._open_slot,
            full=self._full,
            admit=self._admit,
            taken=self._start_ready,
            progress=self._progress,
        )
        processor.attach(self)
        self.assigned = False

    async def consume(self) -> None:
        """Polls until the task is cancelled or `stop` is called."""
        await self._intake.run()

    def _open_slot(self, tp: TopicPartition) -> Slot | None:
        slot = self._slots.get(tp.partition)
        return slot if slot and slot.is_open else None

    def _full(self, slot: Slot, tp: TopicPartition, offset: int) -> str | None:
        """The budget that leaves no room for the record, if any. Running, queued and retrying records all count.

        The span is that of this record: a previous owner may have completed others far above, and what is below them is what
        its watermark waits for.
        """
        if budget := self._holdings.full():
            return budget
        return "span" if offset - slot.trackers[tp].position >= MAX_SPAN - 1 else None

    def _admit(self, slot: Slot, tp: TopicPartition, raw: RawRecord) -> None:
        if not slot.trackers[tp].deliver(raw.offset):
            return
        record = HeldRecord(slot, tp, raw, time.monotonic())
        self._holdings.take(record)
        self._lanes.put(self._lane(raw), record.tenant, record.user, record)
        self._metrics.received.labels(self.group, raw.topic).inc()
        try:
            self._processor.arrived(raw)
        except Exception as error:  # a hint only, and the record is in its lane
            self._failures.note(raw.position, error)

    def _lane(self, raw: RawRecord) -> Hashable:
        return (raw.partition, raw.key if self._spec.in_order else raw.offset)

    def _start_ready(self) -> None:
        while not self._stopping and (taken := self._lanes.take()) is not None:
            key, record = taken
            self._begin(key, record)
        self._metrics.running.labels(self.group).set(self._lanes.running)
        self._metrics.queued.labels(self.group).set(self._lanes.queued)

    def _begin(self, key: Hashable, record: HeldRecord) -> None:
        """Processes a record whose lane is held for it."""
        if self._lets_go(record.slot):
            self._end(key, record)
            return
        task = asyncio.create_task(self._run(record), name=f"{self.group}-{record.tp}-{record.raw.offset}")
        self._tasks[task] = record
        task.add_done_callback(partial(self._over, key))

    def _over(self, key: Hashable, task: asyncio.Task[None]) -> None:
        record = self._tasks.pop(task)
        error = asyncio.CancelledError("nobody here asked for it") if task.cancelled() else task.exception()
        if error is None or self._lets_go(record.slot):
            self._end(key, record)
            return
        # The record is still open and its slot's offset holds: it must come to an end here, or nothing of the slot does.
        log.error("group %s: %s was not brought to an end", self.group, record.raw.position, exc_info=error)
        record.failed += 1
        asyncio.get_running_loop().call_later(self._options.backoff, self._begin, key, record)

    def _end(self, key: Hashable, record: HeldRecord) -> None:
        self._holdings.give(record)
        self._lanes.done(key)
        self._start_ready()
        self._progress.set()

    def _lets_go(self, slot: Slot) -> bool:
        """Whether what runs for the slot is ended by order."""
        return self._stopping or slot.closed

    async def _run(self, record: HeldRecord) -> None:
        slot, raw, tp = record.slot, record.raw, record.tp
        serve(record.tenant, record.user)
        if (
            not (await slot.room(raw.key) and await slot.wait_open())
            or slot.publication(tp, raw.offset) is not Publication.MISSING
        ):
            return
        let_go = partial(self._lets_go, slot)
        await self._holdings.restore(record, lambda: not let_go())
        if record.spilled:
            return  # released before its value was re-read: the next owner reads it
        raw = record.raw
        started = time.monotonic()
        self._metrics.lane_seconds.labels(self.group).observe(started - record.received_at)
        suspect = raw.offset < slot.suspect_below.get(tp, 0)
        outputs = await self._handler(raw, suspect=suspect, failed=record.failed, let_go=let_go)
        # What comes after the turn may not start in a slot that is lost or in doubt.
        if not await slot.wait_open():
            return
        immediate, with_offsets = split_by_delivery(outputs)
        if immediate:
            await self._clients.send(immediate)
        for source, earlier in groupby((o for o in with_offsets if o.source), attrgetter("source")):
            slot.finish(Finished(*_position(source), tuple(earlier), raw.key))
        # What was sent immediately advances the pipeline: nobody waits for the rest.
        awaited = self._spec.awaited and not immediate
        slot.finish(Finished(tp, raw.offset, tuple(o for o in with_offsets if not o.source), raw.key, awaited))
        self._metrics.process_seconds.labels(self.group).observe(time.monotonic() - started)
        self._metrics.age_seconds.labels(self.group).observe(max(0.0, time.time() - raw.timestamp_ms / 1000))

    def publication(self, position: str) -> Publication:
        """See `RuntimeView`. What is not ours is for its owner to publish."""
        tp, offset = _position(position)
        slot = self._slots.get(tp.partition) or self._limbo.get(tp.partition)
        return slot.publication(tp, offset) if slot else Publication.PENDING

    def waiting(self, raw: RawRecord) -> Sequence[RawRecord]:
        """See `RuntimeView`."""
        return [record.raw for record in self._lanes.waiting(self._lane(raw))]

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Stops publishing for all slots. Running records continue: most rebalances return most slots."""
        self._limbo, self._slots = {**self._limbo, **self._slots}, {}
        self._intake.forget()
        self.assigned = False
        await asyncio.gather(*(slot.suspend() for slot in self._limbo.values()))
        if self._stopping:
            await asyncio.gather(*(slot.close() for slot in self._limbo.values()))

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Gates the assigned partitions, then opens or resumes their slots in the background."""
        self._consumer.pause(*assigned)
        numbers = {tp.partition for tp in assigned}
        lost = [self._limbo.pop(n) for n in list(self._limbo) if n not in numbers]
        for number in sorted(numbers):
            slot = self._limbo.pop(number, None)
            if self._stopping:
                if slot is not None:
                    self._slots[number] = slot  # it stays closed, and what runs for it still has the grace
                continue
            again = slot is not None and not slot.closed and bool(slot.trackers)
            if slot is None or not again:
                lost += [slot] if slot else []
                slot = Slot(
                    self._spec,
                    number,
                    clients=self._clients,
                    options=self._options,
                    metrics=self._metrics,
                    on_progress=self._progress.set,
                )
            self._slots[number] = slot
            self._bring_ups[number] = self._in_background(self._bring_up(slot, again=again))
        for slot in lost:
            self._in_background(self._let_go(slot))
        self.assigned = True
        log.info("group %s: slots %s", self.group, sorted(numbers) or "none")

    def _in_background(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._openings.add(task)
        task.add_done_callback(self._openings.discard)
        return task

    async def _bring_up(self, slot: Slot, *, again: bool) -> None:
        backoff, task = Backoff(self._options.backoff, self._options.max_backoff), asyncio.current_task()

        def wanted() -> bool:
            mine = self._bring_ups.get(slot.number) is task and self._slots.get(slot.number) is slot
            return mine and not self._stopping

        while wanted():
            try:
                if again:
                    await slot.resume()
                else:
                    await slot.open(await self._consumer.end_offsets(list(slot.partitions)))
                if slot.fresh:
                    await self._until_settled(slot, wanted)
                if not wanted():
                    break
                await self._seek(slot)
                if not wanted():
                    break
                slot.admit()
                self._consumer.resume(*slot.partitions)
            except BaseException as error:
                if is_order(error):
                    raise
                log.warning("slot %s-%d cannot be opened yet: %r", self.group, slot.number, error)
                await asyncio.sleep(backoff.next())
                continue
            self._metrics.slots.labels(self.group).set(sum(s.is_open for s in self._slots.values()))
            self._progress.set()
            return
        if self._slots.get(slot.number) is not slot and slot.number not in self._limbo:
            await self._let_go(slot)

    async def _until_settled(self, slot: Slot, wanted: Callable[[], bool]) -> None:
        await until_settled(
            self._clients,
            self.group,
            self.topics,
            slot.number,
            self._consumer,
            pause=self._options.growth_pause,
            wanted=wanted,
        )

    async def _seek(self, slot: Slot) -> None:
        """Seeks to where reading resumes, or to the beginning of the log where retention has passed that."""
        beginnings = await self._consumer.beginning_offsets(list(slot.partitions))
        for tp in slot.partitions:
            self._intake.begin_at(slot, tp, beginnings[tp])
            self._consumer.seek(tp, slot.trackers[tp].read)

    async def _let_go(self, slot: Slot) -> None:
        await slot.close()
        for record in self._lanes.drop(lambda d: d.slot is slot):
            self._holdings.give(record)
        for task, record in list(self._tasks.items()):
            if record.slot is slot:
                task.cancel()

    async def stop(self, grace: float) -> None:
        """Stops intake, waits up to `grace` seconds for running records, publishes them, and releases all slots."""
        self._stopping = True
        self._intake.stop()
        slots = [*self._slots.values(), *self._limbo.values()]
        self._lanes.drop(lambda _: True)
        # Nobody opens a slot any more that is not open now: what waits for it is for its next owner to do.
        closing = [asyncio.ensure_future(slot.close()) for slot in slots if not slot.is_open]
        deadline = time.monotonic() + grace
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace)
        for task in list(self._tasks):
            task.cancel()
        await _wait(
            asyncio.gather(*(slot.drain() for slot in slots if slot.is_open)),
            max(self._options.suspend_seconds, deadline - time.monotonic()),
        )
        for task in list(self._openings):
            task.cancel()
        await asyncio.gather(*closing, *(slot.close() for slot in slots))

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        return self._consumer_of()

    @property
    def last_poll(self) -> float:
        """When this group last polled, in monotonic seconds."""
        return self._intake.last_poll

    @property
    def running(self) -> int:
        """Records being processed now."""
        return self._lanes.running

    @property
    def ready(self) -> bool:
        """Whether this worker knows its slots and all of them are open."""
        return self.assigned and all(slot.is_open for slot in self._slots.values())

    @property
    def open_slots(self) -> set[int]:
        """Numbers of the slots whose records are taken in."""
        return {number for number, slot in self._slots.items() if slot.is_open}

    def trouble(self) -> str | None:
        """What this group cannot read, as text; None if everything can be read."""
        return self._intake.trouble()

    def oldest_seconds(self) -> float:
        """Age of the oldest record that was taken in and is being processed; 0 when there is none."""
        return max((time.monotonic() - d.received_at for d in self._tasks.values()), default=0.0)


def split_by_delivery(outputs: Sequence[Output]) -> tuple[list[Output], tuple[Output, ...]]:
    """Outputs to send immediately, and outputs that are published with the offsets (`schemas.topics.Delivery`)."""
    immediate = [o for o in outputs if TOPICS[o.topic].delivery is not Delivery.TRANSACTION]
    return immediate, tuple(o for o in outputs if TOPICS[o.topic].delivery is Delivery.TRANSACTION)


def _position(position: str) -> tuple[TopicPartition, int]:
    """The inverse of `RawRecord.position`."""
    topic, partition, offset = position.rsplit("/", 2)
    return TopicPartition(topic, int(partition)), int(offset)


async def _wait(work: Awaitable[object], seconds: float) -> None:
    try:
        await asyncio.wait_for(work, seconds)
    except TimeoutError:
        return
