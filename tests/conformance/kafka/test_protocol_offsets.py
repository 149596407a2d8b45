from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import OffsetOutOfRangeError
from kafka_access import KafkaAccess, take
from kafka_wire import READ_COMMITTED, Wire

BASE_MS = 1_700_000_000_000


async def numbered(access: KafkaAccess, count: int = 10) -> TopicPartition:
    """A partition with records "0", "1", ... in one batch, a second apart."""
    topic, producer = await access.topic(), await access.producer(linger_ms=50)
    times = [BASE_MS + number * 1000 for number in range(count)]
    sends = [await producer.send(topic, b"%d" % n, timestamp_ms=time) for n, time in enumerate(times)]
    await asyncio.gather(*sends)
    return TopicPartition(topic, 0)


async def delete_before(access: KafkaAccess, partition: TopicPartition, offset: int) -> int:
    """The first offset that is left."""
    answer = await (await access.admin()).delete_records({partition: RecordsToDelete(offset)})
    left: int = answer[partition]
    return left


async def test_beginning_and_end_count_records(access: KafkaAccess) -> None:
    partition, consumer = await numbered(access), await access.consumer()
    assert await consumer.beginning_offsets([partition]) == {partition: 0}
    assert await consumer.end_offsets([partition]) == {partition: 10}


async def test_an_empty_partition_begins_and_ends_at_zero(access: KafkaAccess, wire: Wire) -> None:
    topic, consumer = await access.topic(), await access.consumer()
    partition = TopicPartition(topic, 0)
    assert await consumer.beginning_offsets([partition]) == await consumer.end_offsets([partition]) == {partition: 0}
    assert await wire.end_offset(topic, isolation_level=READ_COMMITTED) == 0


@pytest.mark.parametrize(
    ("after_ms", "found"),
    [(-1, (0, BASE_MS)), (0, (0, BASE_MS)), (4500, (5, BASE_MS + 5000)), (9000, (9, BASE_MS + 9000)), (9001, None)],
)
async def test_a_time_finds_the_first_record_that_is_not_older(
    access: KafkaAccess, after_ms: int, found: tuple[int, int] | None
) -> None:
    partition, consumer = await numbered(access), await access.consumer()
    answer = (await consumer.offsets_for_times({partition: BASE_MS + after_ms}))[partition]
    assert (answer and (answer.offset, answer.timestamp)) == found


async def test_a_time_is_found_in_whichever_batch_has_it(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.producer()
    for number in range(5):
        await producer.send_and_wait(topic, b"x" * 100, timestamp_ms=BASE_MS + number * 1000)
    partition, consumer = TopicPartition(topic, 0), await access.consumer()
    for number in range(5):
        asked = BASE_MS + number * 1000 - 1
        assert (await consumer.offsets_for_times({partition: asked}))[partition].offset == number


async def test_a_reader_may_begin_inside_a_batch(access: KafkaAccess) -> None:
    partition = await numbered(access)
    consumer = await access.reader(*partition)
    consumer.seek(partition, 7)
    assert [record.value for record in await take(consumer, 3)] == [b"7", b"8", b"9"]


async def test_a_reader_of_the_latest_sees_only_what_comes(access: KafkaAccess) -> None:
    partition = await numbered(access)
    consumer = await access.reader(*partition, auto_offset_reset="latest")
    assert await consumer.position(partition) == 10
    await access.send(partition.topic, b"new")
    assert [record.value for record in await take(consumer, 1)] == [b"new"]


async def test_an_offset_beyond_the_end_is_out_of_range(access: KafkaAccess) -> None:
    partition = await numbered(access)
    consumer = await access.reader(*partition, auto_offset_reset="none")
    consumer.seek(partition, 999)
    with pytest.raises(OffsetOutOfRangeError):
        await asyncio.wait_for(consumer.getone(), 120)


async def test_a_reader_that_is_out_of_range_may_begin_again(access: KafkaAccess) -> None:
    partition = await numbered(access)
    consumer = await access.reader(*partition)
    consumer.seek(partition, 999)
    assert (await take(consumer, 1))[0].offset == 0


async def test_deleted_records_are_not_read_again_and_the_others_keep_their_offsets(access: KafkaAccess) -> None:
    partition = await numbered(access)
    assert await delete_before(access, partition, 6) == 6
    consumer = await access.reader(*partition)
    assert await consumer.beginning_offsets([partition]) == {partition: 6}
    assert [record.offset for record in await take(consumer, 4)] == [6, 7, 8, 9]


async def test_a_reader_below_the_first_offset_left_is_out_of_range(access: KafkaAccess, wire: Wire) -> None:
    partition = await numbered(access)
    await delete_before(access, partition, 6)
    assert (await wire.fetch(partition.topic, {0: 5}))[0].error == "OffsetOutOfRangeError"


async def test_all_records_can_be_deleted_and_offsets_go_on(access: KafkaAccess) -> None:
    partition = await numbered(access)
    assert await delete_before(access, partition, -1) == 10
    await access.send(partition.topic, b"new")
    assert [(record.offset, record.value) for record in await access.read(partition.topic)] == [(10, b"new")]


async def test_deleting_again_never_brings_records_back(access: KafkaAccess) -> None:
    partition = await numbered(access)
    await delete_before(access, partition, 6)
    assert await delete_before(access, partition, 3) == 6


async def test_deleting_beyond_the_end_is_refused(access: KafkaAccess) -> None:
    partition = await numbered(access)
    with pytest.raises(OffsetOutOfRangeError):
        await delete_before(access, partition, 11)
    assert len(await access.read(partition.topic)) == 10
