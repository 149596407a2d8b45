from __future__ import annotations

import asyncio

import pytest
from kafka_access import KafkaAccess
from kafka_wire import Wire, batch
from wire_producer import WireProducer

LAST_SEQUENCE = 2**31 - 1
REMEMBERED_BATCHES = 5
"""So many of a producer's newest batches are known again (Apache Kafka; five requests may be in flight)."""


@pytest.fixture
async def producer(wire: Wire) -> WireProducer:
    """A producer without a transactional id that has sent nothing yet."""
    return await WireProducer.init(wire)


async def test_an_idempotent_client_works(access: KafkaAccess) -> None:
    topic, client = await access.topic(4), await access.producer(enable_idempotence=True)
    await asyncio.gather(*[await client.send(topic, b"%d" % i, partition=i % 4) for i in range(2000)])
    expected = [b"%d" % i for partition in range(4) for i in range(partition, 2000, 4)]
    assert await access.values(topic) == expected


async def test_no_two_producers_have_the_same_id(wire: Wire) -> None:
    ids = [(await WireProducer.init(wire)).id for _ in range(50)]
    assert len(set(ids)) == 50


async def test_a_repeated_batch_is_acknowledged_with_its_first_offset_and_not_appended(
    access: KafkaAccess, wire: Wire, producer: WireProducer
) -> None:
    topic = await access.topic()
    assert await producer.produce(topic, b"a", b"b", sequence=0) == ("NoError", 0)
    assert await producer.produce(topic, b"c", sequence=2) == ("NoError", 2)
    assert await producer.produce(topic, b"a", b"b", sequence=0) == ("NoError", 0)
    assert await producer.produce(topic, b"c", sequence=2) == ("NoError", 2)
    assert await access.values(topic) == [b"a", b"b", b"c"]


async def test_the_newest_batches_are_known_again_and_older_ones_are_out_of_order(
    access: KafkaAccess, wire: Wire, producer: WireProducer
) -> None:
    topic, newest = await access.topic(), REMEMBERED_BATCHES + 2
    for sequence in range(newest):
        await producer.produce(topic, b"x", sequence=sequence)
    for sequence in range(newest - REMEMBERED_BATCHES, newest):
        assert await producer.produce(topic, b"x", sequence=sequence) == ("NoError", sequence)
    assert await producer.produce(topic, b"x", sequence=1) == ("OutOfOrderSequenceNumber", -1)
    assert await wire.end_offset(topic) == newest


async def test_a_gap_in_the_sequence_is_refused_and_the_next_one_taken(
    access: KafkaAccess, producer: WireProducer
) -> None:
    topic = await access.topic()
    await producer.produce(topic, b"x", sequence=0)
    assert await producer.produce(topic, b"x", sequence=9) == ("OutOfOrderSequenceNumber", -1)
    assert await producer.produce(topic, b"x", sequence=1) == ("NoError", 1)


async def test_each_partition_has_its_own_sequence(access: KafkaAccess, producer: WireProducer) -> None:
    topic = await access.topic(2)
    for sequence in range(2):
        for partition in range(2):
            sent = await producer.produce(topic, b"x", sequence=sequence, partition=partition)
            assert sent == ("NoError", sequence)


async def test_the_sequence_begins_again_after_its_largest_number(access: KafkaAccess, producer: WireProducer) -> None:
    topic = await access.topic()
    assert await producer.produce(topic, b"x", sequence=LAST_SEQUENCE) == ("NoError", 0)
    assert await producer.produce(topic, b"x", sequence=0) == ("NoError", 1)


async def test_a_batch_may_cross_the_largest_sequence_number(access: KafkaAccess, producer: WireProducer) -> None:
    topic = await access.topic()
    assert await producer.produce(topic, b"a", b"b", b"c", sequence=LAST_SEQUENCE - 1) == ("NoError", 0)
    assert await producer.produce(topic, b"a", b"b", b"c", sequence=LAST_SEQUENCE - 1) == ("NoError", 0)
    assert await producer.produce(topic, b"d", sequence=1) == ("NoError", 3)


async def test_a_newer_epoch_begins_at_zero_and_shuts_out_the_older(
    access: KafkaAccess, producer: WireProducer
) -> None:
    topic = await access.topic()
    await producer.produce(topic, b"x", sequence=0)
    assert await producer.produce(topic, b"x", sequence=7, epoch=1) == ("OutOfOrderSequenceNumber", -1)
    assert await producer.produce(topic, b"x", sequence=0, epoch=1) == ("NoError", 1)
    assert await producer.produce(topic, b"x", sequence=1, epoch=0) == ("InvalidProducerEpoch", -1)


async def test_batches_of_other_producers_may_lie_between(
    access: KafkaAccess, wire: Wire, producer: WireProducer
) -> None:
    topic, other = await access.topic(), await WireProducer.init(wire)
    await producer.produce(topic, b"a", sequence=0)
    await other.produce(topic, b"b", sequence=0)
    await wire.produce(topic, batch(b"c"))
    assert await producer.produce(topic, b"a", sequence=0) == ("NoError", 0)
    assert await producer.produce(topic, b"d", sequence=1) == ("NoError", 3)
