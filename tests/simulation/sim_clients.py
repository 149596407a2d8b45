"""aiokafka's producer, admin client and consumer, as far as the runtime uses them, on the simulated broker.

They try again by themselves where aiokafka does, and raise what it raises where it gives up.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidTxnState,
    KafkaError,
    KafkaTimeoutError,
    ProducerFenced,
    UnknownMemberIdError,
)
from aiokafka.structs import OffsetAndMetadata
from sim_kafka import ConcurrentTransactions, SimKafka
from sim_loop import Node, VirtualLoop
from sim_network import LostAnswer, Network

from schemas import RawRecord
from streams.raw_reading import Stretch, Unreadable

Result = TypeVar("Result")
REQUEST_SECONDS = 3.0
HEARTBEAT_SECONDS = 0.9


class Connection:
    """One node's way to the broker."""

    def __init__(self, loop: VirtualLoop, network: Network, kafka: SimKafka, node: Node | None) -> None:
        self.loop, self.network, self.kafka, self.node = loop, network, kafka, node

    async def ask(self, carry_out: Callable[[], Result], *, late: bool = True) -> Result:
        """One request."""
        return await self.network.ask(carry_out, node=self.node, server="kafka", timeout=REQUEST_SECONDS, late=late)

    async def insist(self, carry_out: Callable[[], Result], *, seconds: float = 1e9, late: bool = True) -> Result:
        """A request that may be repeated, until it is answered. Raises `KafkaTimeoutError` after `seconds`."""
        deadline = self.loop.now + seconds
        while True:
            try:
                return await self.ask(carry_out, late=late)
            except (LostAnswer, ConcurrentTransactions):
                if self.loop.now > deadline:
                    raise KafkaTimeoutError from None
                await asyncio.sleep(0.01)


class SimProducer:
    """`AIOKafkaProducer`: idempotent, or transactional when it has an id."""

    def __init__(self, connection: Connection, *, transactional_id: str | None = None, **_: Any) -> None:
        self._to, self._tid = connection, transactional_id
        self._epoch = -1
        self._pending: set[asyncio.Task[Any]] = set()
        self._last: dict[TopicPartition, asyncio.Task[Any]] = {}
        self._broken: KafkaError | None = None
        self._open = False

    async def start(self) -> None:
        if self._tid:
            self._epoch = await self._to.insist(lambda: self._to.kafka.init(self._tid or ""), seconds=30)

    async def stop(self) -> None:
        if self._open and not self._broken:
            await self._end(commits=False)
        for task in self._pending:
            task.cancel()

    async def send(self, topic: str, value: bytes, *, key: bytes | None, headers: Any) -> asyncio.Future[Any]:
        """Queues a record; records of one partition keep their order."""
        if self._broken:
            raise self._broken
        tp = self._to.kafka.partition_of(topic, key)
        delivery = asyncio.ensure_future(self._deliver(self._last.get(tp), tp, key, value, headers))
        delivery.add_done_callback(lambda t: t.cancelled() or t.exception())
        self._last[tp] = delivery
        self._pending.add(delivery)
        delivery.add_done_callback(self._pending.discard)
        # aiokafka's sender can die without a word: what was given to it is sent or not, and no acknowledgement ends.
        acknowledged: asyncio.Future[Any] = self._to.loop.create_future()
        if not self._to.network.forgets_an_acknowledgement():
            delivery.add_done_callback(lambda t: _settle(acknowledged, t))
        return acknowledged

    async def _deliver(
        self, before: asyncio.Task[Any] | None, tp: TopicPartition, key: bytes | None, value: bytes, headers: Any
    ) -> int:
        if before:
            await asyncio.wait([before])
        written: list[int] = []

        def write() -> int:
            # The broker knows batches by their sequence numbers: one that is sent again is not written again.
            if not written:
                kafka = self._to.kafka
                if self._tid:
                    written.append(kafka.produce(self._tid, self._epoch, tp, key, value, headers))
                else:
                    written.append(kafka.append(tp, key, value, headers))
            return written[0]

        if self._tid and self._to.network.refuses_a_record():
            raise InvalidTxnState
        try:
            return await self._to.insist(write, seconds=15)
        except InvalidProducerEpoch:
            self._broken = ProducerFenced()
            raise self._broken from None
        except KafkaError as error:
            self._broken = error if self._tid else None
            raise

    async def begin_transaction(self) -> None:
        if self._broken:
            raise self._broken
        assert not self._open, "a transaction is open, says aiokafka in this way too"
        self._open = True

    async def send_offsets_to_transaction(self, offsets: dict[TopicPartition, OffsetAndMetadata], group: str) -> None:
        if self._broken:
            raise self._broken
        # The dictionary is what the caller said now, whatever becomes of it until the request is sent.
        said = dict(offsets)
        await self._in_transaction(lambda: self._to.kafka.offsets(self._tid or "", self._epoch, group, said))

    async def commit_transaction(self) -> None:
        if self._pending:
            await asyncio.wait(list(self._pending))
        if self._broken:
            raise self._broken
        await self._end(commits=True)

    async def _end(self, *, commits: bool) -> None:
        await self._in_transaction(lambda: self._to.kafka.end(self._tid or "", self._epoch, commits=commits))
        self._open = False

    async def _in_transaction(self, carry_out: Callable[[], None]) -> None:
        try:
            # Without KIP-890, which aiokafka does not have, an end or offsets that come late would count for the
            # producer's next transaction: nothing in our hands helps against that (docs/reliability.md).
            await self._to.insist(carry_out, seconds=5, late=False)
        except InvalidProducerEpoch:
            self._broken = ProducerFenced()
            raise self._broken from None
        except KafkaError as error:
            self._broken = error
            raise


def _settle(acknowledged: asyncio.Future[Any], delivery: asyncio.Task[Any]) -> None:
    """A delivery that was cancelled, by the producer's end, is forgotten."""
    if acknowledged.done() or delivery.cancelled():
        return
    if error := delivery.exception():
        acknowledged.set_exception(error)
        acknowledged.exception()
    else:
        acknowledged.set_result(delivery.result())


class SimAdmin:
    """`AIOKafkaAdminClient`, as far as it reads offsets."""

    def __init__(self, connection: Connection, **_: Any) -> None:
        self._to = connection

    async def start(self) -> None:
        await self._to.insist(lambda: None, seconds=30)

    async def close(self) -> None:
        return

    async def list_consumer_group_offsets(self, group: str, *, partitions: Sequence[TopicPartition]) -> Any:
        return await self._to.insist(lambda: self._to.kafka.fetch_offsets(group, partitions), seconds=15)


async def sim_look(
    connection: Connection, _: str, positions: Mapping[TopicPartition, int]
) -> dict[TopicPartition, Stretch]:
    """`raw_reading.look`."""
    kafka, now = connection.kafka, connection.loop.now

    def read() -> dict[TopicPartition, Stretch]:
        found = {}
        for tp, position in positions.items():
            if kafka.silent.get(tp, 0) > now:
                found[tp] = Stretch(end=position, problem="an error of the broker")
                continue
            entries, end, bad = kafka.fetch(tp, position, 100)
            found[tp] = Stretch([_raw(tp, offset, entry) for offset, entry in entries], end)
            if bad:
                offset, entry = bad
                found[tp].unreadable = Unreadable(offset, offset + 1, "odd", entry.value or b"", 0, entry.curable)
        return found

    try:
        return await connection.ask(read)
    except LostAnswer as error:
        raise KafkaTimeoutError from error


class SimConsumer:
    """`AIOKafkaConsumer` of one group, with the task that keeps it a member. `stop` ends that."""

    _names = itertools.count()

    def __init__(self, connection: Connection, group: str, topics: Sequence[str]) -> None:
        self._to, self._group, self._topics = connection, group, topics
        self.listener: ConsumerRebalanceListener | None = None
        self._assigned: tuple[TopicPartition, ...] = ()
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._deaf: set[TopicPartition] = set()
        """Partitions that are not fetched any more, without a word, as after a defect of the client."""
        self._member = f"{connection.node.name if connection.node else ''}-{group}"
        self._stopping = asyncio.Event()
        self._arrived = asyncio.Event()
        for topic in topics:
            connection.kafka.watched[topic].append(self._arrived)

    # ---- what the runtime calls

    def assignment(self) -> tuple[TopicPartition, ...]:
        return self._assigned

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused.difference_update(partitions)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        if tp not in self._assigned:
            raise KafkaError(f"{tp} is not assigned")
        self._positions[tp] = offset
        self._deaf.discard(tp)

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        wanted = list(partitions)
        return await self._to.insist(lambda: {tp: self._to.kafka.stable(tp) for tp in wanted}, seconds=10)

    async def position(self, tp: TopicPartition) -> int:
        if tp not in self._assigned:
            raise KafkaError(f"{tp} is not assigned")
        return self._positions[tp]

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        deadline = self._to.loop.now + timeout_ms / 1000
        while True:
            wanted = {
                tp: self._positions[tp]
                for tp in partitions
                if tp in self._assigned and tp not in self._paused and tp in self._positions and tp not in self._deaf
            }
            kafka = self._to.kafka
            self._arrived.clear()
            if all(position >= kafka.stable(tp) for tp, position in wanted.items()):
                if not await self._something_arrives(deadline):  # as the broker waits, with nothing to answer
                    return {}
                continue
            try:
                found = await self._to.ask(
                    lambda wanted=wanted, kafka=kafka: {
                        tp: kafka.fetch(tp, position, 100)
                        for tp, position in wanted.items()
                        if kafka.silent.get(tp, 0) <= self._to.loop.now
                    }
                )
            except LostAnswer:
                return {}
            records = self._drain(wanted, found)
            if records or self._to.loop.now >= deadline:
                return records
            if not await self._something_arrives(deadline):
                return {}

    def _drain(self, wanted: dict[TopicPartition, int], found: dict[TopicPartition, Any]) -> dict[TopicPartition, Any]:
        """As aiokafka's `Fetcher.fetched_records`: what was drained before one that raises is lost, its position moved."""
        chance, w = self._to.loop.random, self._to.network.weather
        records, order = {}, list(found)
        if w.odd_records:
            chance.shuffle(order)
        for tp in order:
            entries, position, unreadable = found[tp]
            if self._positions.get(tp) != wanted[tp] or tp not in self._assigned or tp in self._paused:
                continue  # it was taken away, paused or moved while the answer was on its way
            if unreadable:
                raise KafkaError("it does not say what cannot be read, nor where")
            self._positions[tp] = position
            if entries:
                records[tp] = [_record(tp, offset, entry) for offset, entry in entries]
            if w.failed_polls and chance.random() < w.failed_polls:
                raise RuntimeError("a defect of the client, after it has taken records")
            if w.deaf_polls and chance.random() < w.deaf_polls:
                self._deaf.add(tp)
        return records

    async def _something_arrives(self, deadline: float) -> bool:
        self._to.loop.call_at(deadline, self._arrived.set)
        await self._arrived.wait()
        return self._to.loop.now < deadline

    # ---- membership

    async def stay_member(self) -> None:
        """Joins, heartbeats, joins again when told to. Ends after `stop`."""
        kafka, listener = self._to.kafka, self.listener
        assert listener
        while not self._stopping.is_set():
            joined = await self._to.insist(lambda: kafka.join(self._group, self._member, self._topics))
            if not await self._either(joined):
                break
            self._assigned = tuple(joined.result())
            self._paused.clear()
            self._deaf.clear()
            self._positions = dict.fromkeys(self._assigned, 0)
            generation = kafka.generation(self._group)
            await listener.on_partitions_assigned(set(self._assigned))
            while await self._heartbeat(generation):
                pass
            await listener.on_partitions_revoked(set(self._assigned))
        await self._to.insist(lambda: kafka.leave(self._group, self._member))

    def stop(self) -> None:
        """The node leaves the group."""
        self._stopping.set()

    async def _heartbeat(self, generation: int) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), HEARTBEAT_SECONDS)
        except TimeoutError:
            try:
                return await self._to.ask(lambda: self._to.kafka.heartbeat(self._group, self._member, generation))
            except LostAnswer:
                return True
            except UnknownMemberIdError:
                return False
        return False

    async def _either(self, joined: asyncio.Future[Any]) -> bool:
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([joined, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        return joined.done()


def _record(tp: TopicPartition, offset: int, entry: Any) -> ConsumerRecord:
    return ConsumerRecord(
        topic=tp.topic,
        partition=tp.partition,
        offset=offset,
        timestamp=entry.timestamp_ms,
        timestamp_type=0,
        key=entry.key,
        value=entry.value,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=entry.headers,
    )


def _raw(tp: TopicPartition, offset: int, entry: Any) -> RawRecord:
    return RawRecord(tp.topic, tp.partition, offset, entry.timestamp_ms, entry.key, entry.value, entry.headers)
