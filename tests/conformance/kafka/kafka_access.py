"""aiokafka clients of the broker under test, with topics and names of their own, closed together."""

from __future__ import annotations

import asyncio
import gc
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata
from kafka_wire import Wire
from wire_group import committed

from streams.kafka_clients import close_consumer, close_producer

Value = TypeVar("Value")


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


async def until(look: Callable[[], Awaitable[Value]], holds: Callable[[Value], bool], seconds: float = 120) -> Value:
    """Looks again and again until what is seen holds, and returns it. Raises `AssertionError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds(seen := await look()):
        assert time.monotonic() < deadline, f"after {seconds} s it is still {seen!r}"
        await asyncio.sleep(0.02)
    return seen


async def until_true(holds: Callable[[], bool], seconds: float = 120) -> None:
    """Waits for a condition. Raises `AssertionError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.02)


class KafkaAccess:
    """Makes clients and topics; its context closes the clients, whatever state they are in."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._clients = AsyncExitStack()
        self._admin: AIOKafkaAdminClient | None = None
        self._partitions: dict[str, int] = {}
        self._transactional = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clients.aclose()
        if self._transactional:
            # A fenced producer leaves futures whose exception nobody retrieves. What asyncio says about them when they
            # are collected belongs into the log of this test, not to the end of the session.
            gc.collect()

    async def admin(self) -> AIOKafkaAdminClient:
        """The one admin client of the test."""
        if self._admin is None:
            self._admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            self._clients.push_async_callback(self._admin.close)
            await self._admin.start()
        return self._admin

    async def topic(self, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """A new topic, once the broker serves all its partitions."""
        name, admin = unique("topic"), await self.admin()
        answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(configs or {}))])
        assert [row[1] for row in answer.topic_errors] == [0], answer
        await self.served(name, partitions)
        return name

    async def served(self, topic: str, partitions: int) -> None:
        """Waits until so many partitions have a leader and can be read from; Apache Kafka needs a moment."""
        self._partitions[topic] = partitions
        await until(lambda: self._leaders(topic), lambda leaders: len(leaders) == partitions and -1 not in leaders)
        async with await Wire.connect(self.bootstrap) as wire:
            await until(
                lambda: wire.fetch(topic, dict.fromkeys(range(partitions), 0)),
                lambda fetched: {part.error for part in fetched.values()} <= {"NoError", "OffsetOutOfRangeError"},
            )

    async def partition_count(self, topic: str) -> int:
        """How many partitions the broker reports."""
        return len(await self._leaders(topic))

    async def _leaders(self, topic: str) -> list[int]:
        described = await (await self.admin()).describe_topics([topic])
        return [row["leader"] for row in described[0]["partitions"]]

    async def producer(self, **options: Any) -> AIOKafkaProducer:
        """A started producer that waits for all acknowledgements."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, **{"acks": "all", "retry_backoff_ms": 20, **options}
        )
        self._clients.push_async_callback(close_producer, producer)
        async with asyncio.timeout(120):
            await producer.start()
        return producer

    async def transactional(self, transactional_id: str | None = None, **options: Any) -> AIOKafkaProducer:
        """A started transactional producer, by default under an id of its own."""
        self._transactional = True
        return await self.producer(transactional_id=transactional_id or unique("transactional"), **options)

    async def consumer(self, *topics: str, **options: Any) -> AIOKafkaConsumer:
        """A started consumer that begins at the beginning and commits only when told to."""
        chosen = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "retry_backoff_ms": 20, **options}
        consumer = AIOKafkaConsumer(*topics, bootstrap_servers=self.bootstrap, **chosen)
        self._clients.push_async_callback(close_consumer, consumer)
        async with asyncio.timeout(120):
            await consumer.start()
        return consumer

    async def reader(self, topic: str, partition: int = 0, **options: Any) -> AIOKafkaConsumer:
        """A consumer without a group that is assigned one partition."""
        consumer = await self.consumer(**options)
        consumer.assign([TopicPartition(topic, partition)])
        return consumer

    async def send(self, topic: str, *values: bytes, partition: int = 0) -> None:
        """Appends records by a plain producer that is closed again."""
        producer = await self.producer(linger_ms=5)
        await asyncio.gather(*[await producer.send(topic, value, partition=partition) for value in values])
        await producer.stop()

    async def read(self, topic: str, isolation_level: str = "read_uncommitted") -> list[ConsumerRecord]:
        """Every record that a reader of this isolation level may see now, by partition and offset.

        It reads up to the end that the broker states for this isolation level (for `read_committed` the last stable
        offset), so it needs no idle time to know that it is done.
        """
        partitions = [TopicPartition(topic, number) for number in range(self._partitions[topic])]
        consumer = await self.consumer(isolation_level=isolation_level)
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[ConsumerRecord] = []
        async with asyncio.timeout(120):
            while behind := [tp for tp in partitions if await consumer.position(tp) < ends[tp]]:
                for records in (await consumer.getmany(*behind, timeout_ms=1000)).values():
                    found += records
        await close_consumer(consumer)
        return sorted(found, key=lambda record: (record.partition, record.offset))

    async def values(self, topic: str, isolation_level: str = "read_uncommitted") -> list[bytes]:
        """The values of `read`."""
        return [record.value for record in await self.read(topic, isolation_level)]

    async def settled_values(self, topic: str) -> list[bytes]:
        """What a reader of committed records sees once no transaction is open in the topic.

        Apache Kafka acknowledges the end of a transaction when it is decided, and writes its markers afterwards.
        """
        async with await Wire.connect(self.bootstrap) as wire:
            for partition in range(self._partitions[topic]):
                await wire.settled(topic, partition)
        return await self.values(topic, "read_committed")

    async def committed(self, group: str, topic: str, partition: int = 0) -> OffsetAndMetadata | None:
        """What a group has committed for a partition."""
        async with await Wire.connect(self.bootstrap) as wire:
            return (await committed(wire, group)).get(TopicPartition(topic, partition))


async def take(consumer: AIOKafkaConsumer, count: int, seconds: float = 120) -> list[ConsumerRecord]:
    """The next `count` records of a consumer. Raises `TimeoutError` when they do not come."""
    found: list[ConsumerRecord] = []
    async with asyncio.timeout(seconds):
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=500, max_records=count - len(found))).values():
                found += records
    return found
