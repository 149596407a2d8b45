from __future__ import annotations

import asyncio
import statistics
import time

from kafka_access import KafkaAccess, unique
from kafka_wire import READ_COMMITTED, Wire, batch
from wire_producer import WireProducer

PATIENCE_MS = 600_000
"""How long a fetch is told to wait that something must wake: far longer than `Wire` waits for an answer."""


async def waiting(*fetches: asyncio.Task[object]) -> None:
    """Lets the fetches reach the broker; they must not have been answered."""
    done, _ = await asyncio.wait(fetches, timeout=0.3)
    assert not done


async def test_an_idle_fetch_waits_at_the_broker_as_long_as_it_says(access: KafkaAccess, kafka_address: str) -> None:
    topic = await access.topic()
    async with await Wire.connect(kafka_address) as one, await Wire.connect(kafka_address) as other:
        longer = asyncio.create_task(other.fetch(topic, max_wait_ms=60_000))
        await waiting(longer)
        start = time.monotonic()
        assert (await one.fetch(topic, max_wait_ms=600))[0].data == b""
        assert time.monotonic() - start > 0.5
        assert not longer.done()
        longer.cancel()
        await asyncio.wait([longer])


async def test_a_record_wakes_a_fetch_that_waits(access: KafkaAccess, kafka_address: str) -> None:
    topic = await access.topic()
    async with await Wire.connect(kafka_address) as reader, await Wire.connect(kafka_address) as writer:
        fetch = asyncio.create_task(reader.fetch(topic, max_wait_ms=PATIENCE_MS))
        await waiting(fetch)
        await writer.produce(topic, batch(b"news"))
        assert (await fetch)[0].values == [b"news"]


async def test_a_record_of_any_partition_of_a_fetch_wakes_it(access: KafkaAccess, kafka_address: str) -> None:
    topic = await access.topic(3)
    async with await Wire.connect(kafka_address) as reader, await Wire.connect(kafka_address) as writer:
        fetch = asyncio.create_task(reader.fetch(topic, {0: 0, 1: 0, 2: 0}, max_wait_ms=PATIENCE_MS))
        await waiting(fetch)
        await writer.produce(topic, batch(b"news"), partition=2)
        assert (await fetch)[2].values == [b"news"]


async def test_a_fetch_waits_for_as_many_bytes_as_it_wants(access: KafkaAccess, kafka_address: str) -> None:
    topic, one = await access.topic(), batch(b"x" * 1000)
    async with await Wire.connect(kafka_address) as reader, await Wire.connect(kafka_address) as writer:
        fetch = asyncio.create_task(reader.fetch(topic, min_bytes=2 * len(one), max_wait_ms=PATIENCE_MS))
        await writer.produce(topic, one)
        await waiting(fetch)
        await writer.produce(topic, one)
        assert (await fetch)[0].offsets == [0, 1]


async def test_the_end_of_a_transaction_wakes_a_reader_of_committed_records(
    access: KafkaAccess, kafka_address: str
) -> None:
    topic = await access.topic()
    async with await Wire.connect(kafka_address) as reader, await Wire.connect(kafka_address) as writer:
        producer = await WireProducer.init(writer, unique("transactional"))
        await producer.add_partition(topic)
        await producer.produce(topic, b"held back", sequence=0)
        fetch = asyncio.create_task(
            reader.fetch(topic, max_wait_ms=PATIENCE_MS, isolation_level=READ_COMMITTED),
        )
        await waiting(fetch)
        await producer.end(commit=True)
        assert b"held back" in (await fetch)[0].values


async def test_a_record_that_is_sent_while_one_waits_for_it_arrives_at_once(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.producer()
    consumer = await access.reader(topic)
    acknowledged, arrived = [], []
    for _ in range(100):
        arrival = asyncio.ensure_future(consumer.getone())
        await asyncio.sleep(0.005)  # the pace of the records: each finds the fetch waiting
        start = time.perf_counter()
        await producer.send_and_wait(topic, b"x" * 500)
        acknowledged.append(time.perf_counter() - start)
        await arrival
        arrived.append(time.perf_counter() - start)
    # How long an acknowledgement takes says how busy the machine is.
    assert statistics.median(arrived) < 0.05 + 5 * statistics.median(acknowledged)


async def test_a_batch_larger_than_what_a_fetch_allows_is_given_whole(access: KafkaAccess, wire: Wire) -> None:
    topic = await access.topic()
    for _ in range(3):
        await wire.produce(topic, batch(b"x" * 10_000))
    assert (await wire.fetch(topic, partition_max_bytes=100))[0].offsets == [0]
    assert (await wire.fetch(topic, max_bytes=100))[0].offsets == [0]


async def test_a_fetch_gives_no_more_than_the_bytes_it_allows(access: KafkaAccess, wire: Wire) -> None:
    topic, one = await access.topic(2), batch(b"x" * 10_000)
    for partition in (0, 1):
        for _ in range(10):
            await wire.produce(topic, one, partition=partition)
    offsets = {0: 0, 1: 0}
    by_partition = await wire.fetch(topic, offsets, partition_max_bytes=len(one) * 5 // 2)
    assert [len(part.data) // len(one) for part in by_partition.values()] == [2, 2]
    in_all = await wire.fetch(topic, offsets, max_bytes=len(one) * 7 // 2)
    assert sum(len(part.data) for part in in_all.values()) <= len(one) * 7 // 2


async def test_a_fetch_answers_at_once_when_a_partition_has_no_such_offset(access: KafkaAccess, wire: Wire) -> None:
    topic = await access.topic(2)
    fetched = await wire.fetch(topic, {0: 0, 1: 999}, max_wait_ms=PATIENCE_MS)
    assert (fetched[0].error, fetched[1].error) == ("NoError", "OffsetOutOfRangeError")


async def test_an_unknown_partition_does_not_hide_the_others(access: KafkaAccess, wire: Wire) -> None:
    topic = await access.topic()
    await wire.produce(topic, batch(b"x"))
    fetched = await wire.fetch(topic, {0: 0, 7: 0})
    assert (fetched[0].values, fetched[7].error) == ([b"x"], "UnknownTopicOrPartitionError")


async def test_a_fetch_says_where_the_partition_begins_and_ends(access: KafkaAccess, wire: Wire) -> None:
    topic = await access.topic()
    await wire.produce(topic, batch(b"a", b"b", b"c"))
    fetched = (await wire.fetch(topic, {0: 3}))[0]
    assert (fetched.error, fetched.data) == ("NoError", b"")
    assert (fetched.start, fetched.high_watermark, fetched.last_stable) == (0, 3, 3)
