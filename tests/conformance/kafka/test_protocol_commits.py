from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import OffsetMetadataTooLargeError
from aiokafka.structs import OffsetAndMetadata
from kafka_access import KafkaAccess, take, unique, until
from kafka_wire import Wire
from wire_group import commit

LARGEST_METADATA = 4096
"""Apache Kafka's default `offset.metadata.max.bytes`."""


async def twenty(access: KafkaAccess) -> TopicPartition:
    topic = await access.topic()
    await access.send(topic, *[b"%d" % number for number in range(20)])
    return TopicPartition(topic, 0)


async def test_a_committed_offset_comes_back_with_its_metadata(access: KafkaAccess) -> None:
    partition, group = await twenty(access), unique("group")
    consumer = await access.consumer(partition.topic, group_id=group)
    await take(consumer, 10)
    await consumer.commit({partition: OffsetAndMetadata(7, "meta-é")})
    assert await consumer.committed(partition) == 7
    assert await access.committed(group, partition.topic) == OffsetAndMetadata(7, "meta-é")
    offsets = await (await access.admin()).list_consumer_group_offsets(group)
    assert offsets == {partition: OffsetAndMetadata(7, "meta-é")}


async def test_a_later_commit_may_go_back(access: KafkaAccess) -> None:
    partition, group = await twenty(access), unique("group")
    consumer = await access.consumer(partition.topic, group_id=group)
    await take(consumer, 20)
    await consumer.commit({partition: 15})
    await consumer.commit({partition: 3})
    assert await consumer.committed(partition) == 3


async def test_metadata_has_a_limit_and_what_exceeds_it_leaves_the_offset(access: KafkaAccess) -> None:
    partition, group = await twenty(access), unique("group")
    consumer = await access.consumer(partition.topic, group_id=group)
    await take(consumer, 10)
    largest = OffsetAndMetadata(7, "x" * LARGEST_METADATA)
    await consumer.commit({partition: largest})
    with pytest.raises(OffsetMetadataTooLargeError):
        await consumer.commit({partition: OffsetAndMetadata(8, "x" * (LARGEST_METADATA + 1))})
    assert await access.committed(group, partition.topic) == largest


async def test_a_restarted_member_goes_on_at_the_committed_offset(access: KafkaAccess) -> None:
    partition, group = await twenty(access), unique("group")
    first = await access.consumer(partition.topic, group_id=group)
    await take(first, 10)
    await first.commit({partition: 7})
    await first.stop()
    second = await access.consumer(partition.topic, group_id=group)
    assert (await take(second, 1))[0].offset == 7


async def test_a_client_may_commit_by_the_clock(access: KafkaAccess) -> None:
    partition, group = await twenty(access), unique("group")
    options = {"enable_auto_commit": True, "auto_commit_interval_ms": 200}
    consumer = await access.consumer(partition.topic, group_id=group, **options)
    await take(consumer, 20)
    await until(
        lambda: access.committed(group, partition.topic), lambda stored: stored is not None and stored.offset == 20
    )


async def test_groups_do_not_see_each_others_offsets(access: KafkaAccess, wire: Wire) -> None:
    topic, one, two = await access.topic(), unique("group"), unique("group")
    await commit(wire, one, topic, 5)
    assert await access.committed(two, topic) is None
    consumer = await access.consumer(topic, group_id=two)
    assert await consumer.committed(TopicPartition(topic, 0)) is None


async def test_an_offset_of_a_topic_that_does_not_exist_is_refused(wire: Wire) -> None:
    assert await commit(wire, unique("group"), unique("unknown"), 5) == "UnknownTopicOrPartitionError"


async def test_the_offsets_of_a_deleted_topic_are_forgotten(access: KafkaAccess, wire: Wire) -> None:
    topic, other, group = await access.topic(), await access.topic(), unique("group")
    await commit(wire, group, topic, 5)
    await commit(wire, group, other, 6)
    await (await access.admin()).delete_topics([topic])
    await until(lambda: access.committed(group, topic), lambda stored: stored is None)
    stored = await access.committed(group, other)
    assert stored is not None
    assert stored.offset == 6
