"""A partition is taken for one that gives nothing only when it had something to give."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from odd_batches import batch_of, write

from schemas import Topic
from streams.embedded import EmbeddedBroker
from streams.unreadable import Stalls

TP = TopicPartition(Topic.CHAT_DELTAS.value, 0)
POLLS = 5


async def look(stalls: Stalls, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
    for _ in range(POLLS - 1):
        assert await stalls.among([TP], consumer) == [], "no look without polls"
    return await stalls.among([TP], consumer)


@pytest.fixture
async def consumer(embedded: EmbeddedBroker) -> AIOKafkaConsumer:
    reader = AIOKafkaConsumer(bootstrap_servers=embedded.bootstrap, enable_auto_commit=False)
    await reader.start()
    try:
        reader.assign([TP])
        assert await reader.position(TP) == 0
        reader.pause(TP)
        yield reader
    finally:
        await reader.stop()


async def test_record_that_was_written_to_an_idle_partition_just_now_is_on_its_way(
    embedded: EmbeddedBroker, consumer: AIOKafkaConsumer
) -> None:
    stalls = Stalls(0)
    assert await look(stalls, consumer) == []
    await write(embedded.bootstrap, TP, batch_of((b"k", b"v", ())))
    assert await look(stalls, consumer) == []
    assert await look(stalls, consumer) == [TP]


async def test_partition_that_gave_something_since_it_was_looked_at_does_not_stall(
    embedded: EmbeddedBroker, consumer: AIOKafkaConsumer
) -> None:
    stalls = Stalls(0)
    for offset in range(3):
        await write(embedded.bootstrap, TP, batch_of((b"k", b"v", ())))
        assert await look(stalls, consumer) == []
        consumer.seek(TP, offset + 1)
    assert await look(stalls, consumer) == []
    assert await look(stalls, consumer) == []
