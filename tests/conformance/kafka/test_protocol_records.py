from __future__ import annotations

import asyncio
import os
from collections import defaultdict

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from kafka_access import KafkaAccess, take, until
from kafka_wire import Wire, batch, produce_request

LARGEST_BATCH = 1_048_588
"""Bytes: Apache Kafka's default `message.max.bytes`, which counts the whole record batch."""


async def test_a_key_keeps_its_partition_and_its_order_and_offsets_have_no_gaps(access: KafkaAccess) -> None:
    topic, producer = await access.topic(12), await access.producer()
    sent = await asyncio.gather(*[await producer.send(topic, b"%d" % i, key=b"%d" % (i % 50)) for i in range(3000)])
    home: dict[int, set[int]] = defaultdict(set)
    for number, placed in enumerate(sent):
        home[number % 50].add(placed.partition)
    assert all(len(partitions) == 1 for partitions in home.values())

    by_partition: dict[int, list[int]] = defaultdict(list)
    by_key: dict[bytes, list[int]] = defaultdict(list)
    for record in await access.read(topic):
        by_partition[record.partition].append(record.offset)
        by_key[record.key].append(int(record.value))
    assert all(offsets == list(range(len(offsets))) for offsets in by_partition.values())
    assert by_key == {b"%d" % key: list(range(key, 3000, 50)) for key in range(50)}


async def test_records_of_twelve_topics_of_twelve_partitions_reach_one_consumer(access: KafkaAccess) -> None:
    topics, producer = [await access.topic(12) for _ in range(12)], await access.producer(linger_ms=5)
    places = [(topic, partition) for topic in topics for partition in range(12)]
    sends = [await producer.send(t, b"%d" % i, partition=p) for t, p in places for i in range(5)]
    await asyncio.gather(*sends)
    found = await take(await access.consumer(*topics), 720)
    assert {(r.topic, r.partition, r.offset) for r in found} == {(t, p, i) for t, p in places for i in range(5)}


async def test_headers_keep_their_order_their_repetitions_and_their_bytes(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.producer()
    headers = [("a", b"1"), ("a", b"2"), ("empty", b""), ("binary", b"\xff\x00")]
    await producer.send_and_wait(topic, b"value", headers=headers)
    assert [list(record.headers) for record in await access.read(topic)] == [headers]


async def test_the_timestamp_of_the_producer_is_kept(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.producer()
    await producer.send_and_wait(topic, b"value", timestamp_ms=1_600_000_000_123)
    (record,) = await access.read(topic)
    create_time = 0
    assert (record.timestamp, record.timestamp_type) == (1_600_000_000_123, create_time)


async def test_keys_and_values_may_be_null_or_empty(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.producer()
    pairs = [(b"key", None), (None, b"value"), (b"", b"")]
    for key, value in pairs:
        await producer.send_and_wait(topic, value, key=key)
    assert [(record.key, record.value) for record in await access.read(topic)] == pairs


@pytest.mark.parametrize("codec", [None, "gzip", "lz4", "zstd", "snappy"])
async def test_batches_come_back_as_they_were_compressed(access: KafkaAccess, codec: str | None) -> None:
    topic, producer = await access.topic(), await access.producer(compression_type=codec, linger_ms=20)
    values = [b"%d" % i + b"x" * 500 for i in range(500)]
    await asyncio.gather(*[await producer.send(topic, value) for value in values])
    assert await access.values(topic) == values


@pytest.mark.parametrize("size", [900_000, 1_048_000])
async def test_a_record_of_a_megabyte_is_taken(access: KafkaAccess, size: int) -> None:
    topic, producer = await access.topic(), await access.producer(max_request_size=64 << 20)
    body = os.urandom(size)
    await producer.send_and_wait(topic, body)
    assert await access.values(topic) == [body]


@pytest.mark.parametrize("size", [1_500_000, 4_000_000])
async def test_a_larger_record_is_refused_and_the_producer_goes_on(access: KafkaAccess, size: int) -> None:
    topic, producer = await access.topic(), await access.producer(max_request_size=64 << 20, max_batch_size=32 << 20)
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_and_wait(topic, os.urandom(size))
    await producer.send_and_wait(topic, b"small")
    assert await access.values(topic) == [b"small"]


async def test_the_limit_counts_the_bytes_of_the_whole_batch(access: KafkaAccess, wire: Wire) -> None:
    topic, largest = await access.topic(), b"x" * (LARGEST_BATCH - len(batch(b"x" * 1_000_000)) + 1_000_000)
    assert len(batch(largest)) == LARGEST_BATCH
    assert await wire.produce(topic, batch(largest)) == ("NoError", 0)
    assert await wire.produce(topic, batch(largest + b"x")) == ("MessageSizeTooLargeError", -1)


async def test_a_batch_with_a_wrong_check_sum_is_refused(access: KafkaAccess, wire: Wire) -> None:
    topic, data = await access.topic(), bytearray(batch(b"value"))
    data[-1] ^= 1
    assert await wire.produce(topic, bytes(data)) == ("CorruptRecordException", -1)
    assert await wire.produce(topic, batch(b"good")) == ("NoError", 0)


async def test_a_batch_that_is_cut_off_is_refused(access: KafkaAccess, wire: Wire) -> None:
    topic = await access.topic()
    error, offset = await wire.produce(topic, batch(b"value" * 100)[:-100])
    assert (error != "NoError", offset) == (True, -1)
    assert await wire.produce(topic, batch(b"good")) == ("NoError", 0)


async def test_two_batches_for_one_partition_in_one_request_are_refused(access: KafkaAccess, wire: Wire) -> None:
    topic = await access.topic()
    error, offset = await wire.produce(topic, batch(b"one") + batch(b"two"))
    assert (error != "NoError", offset) == (True, -1)
    assert await wire.end_offset(topic) == 0


async def test_a_partition_that_does_not_exist_is_refused(access: KafkaAccess, wire: Wire) -> None:
    topic = await access.topic(12)
    assert await wire.produce(topic, batch(b"x"), partition=99) == ("UnknownTopicOrPartitionError", -1)


async def test_a_producer_that_wants_no_acknowledgement_gets_no_answer(access: KafkaAccess, wire: Wire) -> None:
    topic = await access.topic()
    await wire.send(wire.frame(produce_request(topic, batch(b"quiet"), acks=0)))
    # The next answer on this connection belongs to the next question.
    await until(lambda: wire.end_offset(topic), lambda end: end == 1)
    assert await access.values(topic) == [b"quiet"]


async def test_acknowledgement_by_the_leader_alone_gives_the_offset(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.producer(acks=1)
    assert [(await producer.send_and_wait(topic, b"x")).offset for _ in range(3)] == [0, 1, 2]
