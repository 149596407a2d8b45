from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidPartitionsError
from kafka_access import KafkaAccess, unique, until
from kafka_wire import Wire, batch, error_name


async def create(admin: AIOKafkaAdminClient, name: str, partitions: int = 1, **options: int) -> str:
    """The error's name."""
    answer = await admin.create_topics([NewTopic(name, partitions, options.pop("replication", 1))], **options)
    return error_name(answer.topic_errors[0][1])


async def settings(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    described = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {entry[0]: entry[1] for entry in described[0].resources[0][4]}


async def alter(admin: AIOKafkaAdminClient, topic: str, **configs: str) -> None:
    named = {key.replace("_", "."): value for key, value in configs.items()}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])


async def metadata_error(admin: AIOKafkaAdminClient, topic: str) -> str:
    described = await admin.describe_topics([topic])
    return error_name(described[0]["error_code"])


async def test_a_created_topic_has_its_partitions_each_with_a_leader_that_is_a_broker(access: KafkaAccess) -> None:
    topic, admin = await access.topic(12), await access.admin()
    described = (await admin.describe_topics([topic]))[0]
    assert sorted(row["partition"] for row in described["partitions"]) == list(range(12))
    brokers = {broker["node_id"] for broker in (await admin.describe_cluster())["brokers"]}
    assert {row["leader"] for row in described["partitions"]} <= brokers
    assert topic in await admin.list_topics()


async def test_the_controller_is_one_of_the_brokers(access: KafkaAccess) -> None:
    cluster = await (await access.admin()).describe_cluster()
    assert cluster["controller_id"] in {broker["node_id"] for broker in cluster["brokers"]}


async def test_creating_a_topic_again_says_that_it_exists(access: KafkaAccess) -> None:
    topic = await access.topic(3)
    assert await create(await access.admin(), topic, 5) == "TopicAlreadyExistsError"
    assert await access.partition_count(topic) == 3


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../escape", "with space", "ümlaut", "x" * 250])
async def test_a_name_that_is_no_topic_name_is_refused(access: KafkaAccess, name: str) -> None:
    admin = await access.admin()
    assert await create(admin, name) == "InvalidTopicError"
    assert name not in await admin.list_topics()


async def test_the_longest_name_is_taken(access: KafkaAccess) -> None:
    name = unique("long").ljust(249, "x")
    assert await create(await access.admin(), name) == "NoError"


@pytest.mark.parametrize("partitions", [0, -2])
async def test_a_topic_needs_partitions(access: KafkaAccess, partitions: int) -> None:
    assert await create(await access.admin(), unique("none"), partitions) == "InvalidPartitionsError"


async def test_more_replicas_than_brokers_are_refused(access: KafkaAccess) -> None:
    assert await create(await access.admin(), unique("replicas"), replication=2) == "InvalidReplicationFactorError"


async def test_validating_only_creates_nothing(access: KafkaAccess) -> None:
    admin, name = await access.admin(), unique("validated")
    assert await create(admin, name, validate_only=True) == "NoError"
    assert name not in await admin.list_topics()
    assert await create(admin, name) == "NoError"


async def test_asking_for_a_topic_does_not_create_it(access: KafkaAccess, wire: Wire) -> None:
    admin, name = await access.admin(), unique("unknown")
    assert await metadata_error(admin, name) == "UnknownTopicOrPartitionError"
    assert await wire.produce(name, batch(b"x")) == ("UnknownTopicOrPartitionError", -1)
    assert name not in await admin.list_topics()


async def test_settings_are_described_as_they_were_set(access: KafkaAccess) -> None:
    topic = await access.topic(configs={"retention.ms": "60000", "cleanup.policy": "delete"})
    described = await settings(await access.admin(), topic)
    assert (described["retention.ms"], described["cleanup.policy"]) == ("60000", "delete")


async def test_altering_settings_replaces_all_that_were_set_before(access: KafkaAccess) -> None:
    admin = await access.admin()
    topic = await access.topic(configs={"retention.ms": "60000", "retention.bytes": "1000000"})
    await alter(admin, topic, retention_ms="5000")
    described = await until(lambda: settings(admin, topic), lambda found: found["retention.ms"] == "5000")
    assert described.get("retention.bytes", "-1") == "-1"


async def test_partitions_can_be_added_and_the_old_records_stay(access: KafkaAccess) -> None:
    topic, admin = await access.topic(2), await access.admin()
    await access.send(topic, b"before", partition=1)
    await admin.create_partitions({topic: NewPartitions(5)})
    await access.served(topic, 5)
    await access.send(topic, b"new", partition=4)
    consumer = await access.consumer()
    ends = await consumer.end_offsets([TopicPartition(topic, number) for number in range(5)])
    assert [ends[TopicPartition(topic, number)] for number in range(5)] == [0, 1, 0, 0, 1]


@pytest.mark.parametrize("count", [1, 2])
async def test_partitions_cannot_be_taken_away(access: KafkaAccess, count: int) -> None:
    topic, admin = await access.topic(2), await access.admin()
    with pytest.raises(InvalidPartitionsError):
        await admin.create_partitions({topic: NewPartitions(count)})
    assert await access.partition_count(topic) == 2


async def test_a_deleted_topic_is_gone_and_one_made_again_is_empty(access: KafkaAccess) -> None:
    topic, admin = await access.topic(), await access.admin()
    await access.send(topic, b"old")
    await admin.delete_topics([topic])
    await until(lambda: metadata_error(admin, topic), lambda error: error == "UnknownTopicOrPartitionError")
    assert topic not in await admin.list_topics()
    await until(lambda: create(admin, topic), lambda error: error == "NoError")
    await access.served(topic, 1)
    assert await access.read(topic) == []


async def test_deleting_a_topic_that_is_not_there_says_so(access: KafkaAccess) -> None:
    answer = await (await access.admin()).delete_topics([unique("unknown")])
    assert error_name(answer.topic_error_codes[0][1]) == "UnknownTopicOrPartitionError"
