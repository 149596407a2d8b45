"""Reading topics from a time on, in no group; and setting back a group that has no members."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.structs import OffsetAndMetadata

from schemas import RawRecord, SettingsError, Topic, Unavailable
from streams.kafka_clients import opened_consumer
from streams.kafka_servers import Kafka, answering
from streams.raw_reading import read_between
from streams.topic_admin import opened_admin, partitions_of


async def read_since(
    bootstrap: Kafka,
    topics: Iterable[Topic],
    since: datetime,
    *,
    unreadable: Callable[[str], None],
) -> AsyncIterator[RawRecord]:
    """The committed records from a time on, up to where the topics end now; in order within each partition.

    `unreadable` is called with what no record can be made of, and its position. Raises `Unavailable` when Kafka does not answer,
    `NotFound` when a topic is not there.
    """
    partitions = await partitions_of(bootstrap, topics)
    async with answering(bootstrap):
        async with opened_consumer(bootstrap, isolation_level="read_committed") as consumer:
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            starts = await _starts(consumer, ends, since)
        async for found in read_between(bootstrap, {tp: (starts[tp], end) for tp, end in ends.items()}):
            if isinstance(found, RawRecord):
                yield found
            else:
                tp, bad = found
                unreadable(f"{tp.topic}/{tp.partition}, offsets {bad.first} to {bad.end - 1}: {bad.reason}")


async def require_no_members(bootstrap: Kafka, groups: Mapping[str, Sequence[Topic]]) -> None:
    """Raises `SettingsError` when a worker of these groups runs, `Unavailable` when Kafka does not answer.

    Kafka refuses a commit from outside for a group that has members, so what is committed is committed once more. (aiokafka
    0.14 cannot read the description of a group whose members have names.)
    """
    for group, topics in groups.items():
        async with opened_admin(bootstrap) as admin:
            committed = await admin.list_consumer_group_offsets(group)
        own = {tp: at for tp, at in committed.items() if at.offset >= 0 and tp.topic in {t.value for t in topics}}
        if not own:
            continue
        async with answering(bootstrap), opened_consumer(bootstrap, group_id=group) as consumer:
            consumer.assign(list(own))
            try:
                await consumer.commit(own)
            except (
                CommitFailedError,
                UnknownMemberIdError,
                IllegalGenerationError,
                RebalanceInProgressError,
            ) as error:
                raise SettingsError(f"a worker of the group {group} runs; stop all workers first") from error


async def set_back(bootstrap: Kafka, group: str, topic: Topic, since: datetime) -> None:
    """Lets a group without members begin again at a time. Raises `Unavailable`, and `NotFound` without the topic."""
    partitions = await partitions_of(bootstrap, [topic])
    try:
        async with opened_consumer(bootstrap, group_id=group) as consumer:
            consumer.assign(partitions)
            starts = await _starts(consumer, await consumer.end_offsets(partitions), since)
            await consumer.commit({tp: OffsetAndMetadata(start, "") for tp, start in starts.items()})
    except KafkaError as error:
        raise Unavailable(f"the group {group} could not be set back: {error}") from error


async def _starts(
    consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int], since: datetime
) -> dict[TopicPartition, int]:
    found = await consumer.offsets_for_times(dict.fromkeys(ends, int(since.timestamp() * 1000)))
    return {tp: found[tp].offset if found.get(tp) else end for tp, end in ends.items()}
