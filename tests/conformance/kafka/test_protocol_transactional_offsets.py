from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from kafka_access import KafkaAccess, take, unique, until
from kafka_wire import Wire
from wire_group import commit

LARGEST_METADATA = 4096
"""Apache Kafka's default `offset.metadata.max.bytes`."""
COMPLETED = "v1:" + "A" * 197
"""As long as the sets of completed records that travel in the metadata usually are."""


async def stored(access: KafkaAccess, group: str, partition: TopicPartition) -> tuple[int, str] | None:
    found = await access.committed(group, partition.topic)
    return (found.offset, found.metadata) if found else None


async def becomes(access: KafkaAccess, group: str, partition: TopicPartition, wanted: tuple[int, str]) -> None:
    """Waits until an offset is stored: Apache Kafka acknowledges a commit before it has carried it out."""
    await until(lambda: stored(access, group, partition), lambda found: found == wanted)


async def test_offsets_count_when_their_transaction_is_committed(access: KafkaAccess) -> None:
    source, sink, group = TopicPartition(await access.topic(), 0), await access.topic(), unique("group")
    producer = await access.transactional()
    await producer.begin_transaction()
    await producer.send(sink, b"out", partition=0)
    await producer.send_offsets_to_transaction({source: OffsetAndMetadata(5, COMPLETED)}, group)
    assert await stored(access, group, source) is None
    await producer.commit_transaction()
    await becomes(access, group, source, (5, COMPLETED))
    assert await access.settled_values(sink) == [b"out"]


async def test_offsets_of_an_aborted_transaction_never_count(access: KafkaAccess) -> None:
    source, group, producer = TopicPartition(await access.topic(), 0), unique("group"), await access.transactional()
    async with producer.transaction():
        await producer.send_offsets_to_transaction({source: OffsetAndMetadata(5, "kept")}, group)
    await becomes(access, group, source, (5, "kept"))
    await producer.begin_transaction()
    await producer.send_offsets_to_transaction({source: OffsetAndMetadata(9, "dropped")}, group)
    assert await stored(access, group, source) == (5, "kept")
    await producer.abort_transaction()
    assert await stored(access, group, source) == (5, "kept")


async def test_offsets_left_open_are_dropped_when_the_id_has_a_new_owner(access: KafkaAccess) -> None:
    source, group, identity = TopicPartition(await access.topic(), 0), unique("group"), unique("transactional")
    gone = await access.transactional(identity)
    await gone.begin_transaction()
    await gone.send_offsets_to_transaction({source: OffsetAndMetadata(9, "left open")}, group)
    owner = await access.transactional(identity)
    assert await stored(access, group, source) is None
    async with owner.transaction():
        await owner.send_offsets_to_transaction({source: OffsetAndMetadata(3, "new")}, group)
    await becomes(access, group, source, (3, "new"))


async def test_they_are_taken_beside_a_living_member_of_the_group(access: KafkaAccess) -> None:
    source, group, producer = TopicPartition(await access.topic(), 0), unique("group"), await access.transactional()
    await access.send(source.topic, *[b"%d" % number for number in range(5)])
    member = await access.consumer(source.topic, group_id=group, isolation_level="read_committed")
    await take(member, 5)
    async with producer.transaction():
        await producer.send_offsets_to_transaction({source: OffsetAndMetadata(4, COMPLETED)}, group)
    await becomes(access, group, source, (4, COMPLETED))
    assert await member.committed(source) == 4
    await member.stop()
    successor = await access.consumer(source.topic, group_id=group, isolation_level="read_committed")
    assert (await take(successor, 1))[0].offset == 4


async def test_offsets_of_several_partitions_count_together(access: KafkaAccess) -> None:
    topic, group, producer = await access.topic(2), unique("group"), await access.transactional()
    offsets = {TopicPartition(topic, number): OffsetAndMetadata(number + 1, "") for number in range(2)}
    async with producer.transaction():
        await producer.send_offsets_to_transaction(offsets, group)
    admin = await access.admin()
    await until(lambda: admin.list_consumer_group_offsets(group), lambda found: found == offsets)


async def test_the_last_offset_of_a_transaction_counts(access: KafkaAccess) -> None:
    source, group, producer = TopicPartition(await access.topic(), 0), unique("group"), await access.transactional()
    async with producer.transaction():
        for offset in (4, 6, 5):
            await producer.send_offsets_to_transaction({source: OffsetAndMetadata(offset, str(offset))}, group)
    await becomes(access, group, source, (5, "5"))


async def test_metadata_has_the_same_limit_as_in_a_commit_of_its_own(access: KafkaAccess) -> None:
    source, group, producer = TopicPartition(await access.topic(), 0), unique("group"), await access.transactional()
    largest = "x" * LARGEST_METADATA
    async with producer.transaction():
        await producer.send_offsets_to_transaction({source: OffsetAndMetadata(5, largest)}, group)
    await becomes(access, group, source, (5, largest))
    await producer.begin_transaction()
    with pytest.raises(KafkaError):
        await producer.send_offsets_to_transaction({source: OffsetAndMetadata(6, largest + "x")}, group)
    assert await stored(access, group, source) == (5, largest)


async def test_a_plain_commit_and_a_transaction_follow_each_other(access: KafkaAccess, wire: Wire) -> None:
    source, group, producer = TopicPartition(await access.topic(), 0), unique("group"), await access.transactional()
    assert await commit(wire, group, source.topic, 2) == "NoError"
    async with producer.transaction():
        await producer.send_offsets_to_transaction({source: OffsetAndMetadata(5, "")}, group)
    await becomes(access, group, source, (5, ""))
    assert await commit(wire, group, source.topic, 3) == "NoError"
    assert await stored(access, group, source) == (3, "")
