"""Following topics from their ends, in no group, past what cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas import RawRecord, Topic
from streams.kafka_clients import close_consumer
from streams.kafka_servers import Kafka, new_consumer, trouble_with
from streams.raw_reading import look
from streams.unpacking import shared_room

log = logging.getLogger("cauce.streams")


async def follow(bootstrap: Kafka, topics: Sequence[Topic], *, committed: bool) -> Tail:
    """Begins to read everything from now on. Raises `Unavailable` when Kafka does not answer."""
    consumer = new_consumer(
        *(topic.value for topic in topics),
        bootstrap_servers=bootstrap,
        isolation_level="read_committed" if committed else "read_uncommitted",
        auto_offset_reset="latest",
        enable_auto_commit=False,
        fetch_max_wait_ms=500,
    )
    try:
        await consumer.start()
        tail = Tail(consumer, bootstrap, committed=committed)
        await tail.begin()
    except KafkaError as error:
        await close_consumer(consumer)
        raise await trouble_with(bootstrap, error) from error
    return tail


class Tail:
    """Reads a started consumer that `auto_offset_reset="latest"` has given its positions; nothing else may poll it."""

    def __init__(self, consumer: AIOKafkaConsumer, bootstrap: Kafka, *, committed: bool) -> None:
        self._consumer, self._bootstrap, self._committed = consumer, bootstrap, committed
        self._read: dict[TopicPartition, int] = {}

    async def begin(self) -> None:
        """Takes the present ends as the positions to read from. Raises `KafkaError`."""
        # A position is only known once it was asked for; "latest" means the end at that moment.
        self._read = {tp: await self._consumer.position(tp) for tp in self._consumer.assignment()}

    async def close(self) -> None:
        """Stops reading."""
        await close_consumer(self._consumer)

    async def poll(self, timeout_ms: int = 1000) -> Sequence[RawRecord]:
        """What came; after a poll that failed what it had taken, too, and without what cannot be read.

        Raises `KafkaError` when Kafka does not answer.
        """
        try:
            with shared_room():
                fetched = await self._consumer.getmany(timeout_ms=timeout_ms)
        except Exception as error:
            log.warning("a poll failed, reading again what it may have taken: %r", error)
            return await self._read_past()
        for tp in fetched:
            self._read[tp] = await self._consumer.position(tp)
        return [
            RawRecord(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
            for records in fetched.values()
            for r in records
        ]

    async def _read_past(self) -> Sequence[RawRecord]:
        found: list[RawRecord] = []
        for tp, stretch in (await look(self._bootstrap, self._read, committed=self._committed)).items():
            found += stretch.records
            bad = stretch.unreadable
            if bad:
                log.warning("%s/%d cannot be read at offset %d: %s", tp.topic, tp.partition, bad.first, bad.reason)
            self._read[tp] = bad.end if bad else stretch.end
            self._consumer.seek(tp, self._read[tp])
        return found
