"""More partitions on a live system, without a thread losing its order (docs/decisions/0007-growing.md).

The new number is a multiple of the old one, so that the threads which move from partition p go to p + k times the old
number: each new slot has one old slot that its threads come from. Until that one has published all that it had when no
producer can use the old number any more, the new slot takes nothing in.

What is remembered, the number before and the time, is an offset of the group `cauce.partitions`, which has no members.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewPartitions
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from schemas import TOPICS, PartitionSet, SettingsError, Topic, Unavailable
from streams.kafka_clients import KafkaClients, opened_consumer
from streams.kafka_servers import Kafka, not_allowed
from streams.raw_reading import read_between
from streams.topic_admin import described_topics, opened_admin

log = logging.getLogger("cauce.streams")

GROUP = "cauce.partitions"
BETWEEN_SECONDS = 600.0
"""Two growths are so far apart, so that the first one is over."""

NOTED_AT = Topic.CHAT_MESSAGES
"""The last growth is an offset of its first partition."""
_PARTITION = TopicPartition(NOTED_AT.value, 0)


@dataclass(frozen=True, slots=True)
class Growth:
    """The last growth: from `before` to `after` partitions, at a time in seconds since 1970."""

    before: int
    after: int
    at: float

    def origin(self, slot: int) -> int | None:
        """The slot that the threads of a new slot come from; None for an old slot."""
        return slot % self.before if self.before <= slot < self.after else None


async def last_growth(clients: KafkaClients) -> Growth | None:
    """The last growth, if there was one. Raises `KafkaError`."""
    return _growth(await clients.committed(GROUP, [_PARTITION]))


async def grow(bootstrap: Kafka, partitions: int) -> Growth | None:
    """Gives all conversation topics so many partitions; None when they have them already.

    Raises `SettingsError` for a number that would break order, `Unavailable` when Kafka does not answer.
    """
    names = [t.value for t, spec in TOPICS.items() if spec.partition_set is PartitionSet.CONVERSATION]
    async with opened_admin(bootstrap) as admin:
        described = {d["topic"]: len(d["partitions"]) for d in await described_topics(bootstrap, admin, names)}
        counts = {described.get(name, 0) for name in names}
        if 0 in counts:
            raise SettingsError("there are topics missing; create them first with: cauce topics apply")
        if counts == {partitions}:
            return None
        before = min(counts)
        if partitions < before or partitions % before:
            raise SettingsError(
                f"the topics have {before} partitions: they can grow to a multiple of that, such as {2 * before}, "
                "so that every new partition gets its threads from one old one"
            )
        growth = Growth(before, partitions, time.time())
        last = _growth(await admin.list_consumer_group_offsets(GROUP, partitions=[_PARTITION]))
        if last and last.after == partitions and max(counts) == partitions:
            growth = last  # it was interrupted: some topics have grown
        elif last and time.time() - last.at < BETWEEN_SECONDS:
            wait = BETWEEN_SECONDS - (time.time() - last.at)
            raise SettingsError(
                f"the topics grew to {last.after} partitions a short while ago; try again in {wait:.0f} s"
            )
        elif len(counts) > 1:
            raise SettingsError(f"the conversation topics have different numbers of partitions: {sorted(counts)}")
        # First the note, so that no slot can be opened without it.
        await _remember(bootstrap, growth)
        wanted = {name: NewPartitions(partitions) for name in names if described[name] != partitions}
        try:
            await admin.create_partitions(wanted)
        except KafkaError as error:
            refused = not_allowed(bootstrap, error)
            raise refused or Unavailable(f"Kafka did not create the partitions: {error}") from error
    return growth


async def _settled(clients: KafkaClients, group: str, ends: Mapping[TopicPartition, int]) -> bool:
    """Whether a group has committed all records of these partitions below these offsets."""
    committed = await clients.committed(group, list(ends))
    for tp, end in ends.items():
        found = committed.get(tp)
        position = max(0, found.offset) if found else 0
        if position < end and await _has_records(clients.bootstrap, tp, position, end):
            return False
    return True


async def _has_records(bootstrap: Kafka, tp: TopicPartition, start: int, end: int) -> bool:
    """Whether there is something between two offsets: the marks of transactions have offsets, too."""
    async with opened_consumer(bootstrap) as consumer:
        beginnings = await consumer.beginning_offsets([tp])
    async with contextlib.aclosing(read_between(bootstrap, {tp: (max(start, beginnings[tp]), end)})) as found:
        async for _ in found:
            return True
    return False


async def _remember(bootstrap: Kafka, growth: Growth) -> None:
    note = json.dumps({"before": growth.before, "after": growth.after, "at": growth.at})
    try:
        async with opened_consumer(bootstrap, group_id=GROUP) as consumer:
            consumer.assign([_PARTITION])
            await consumer.commit({_PARTITION: OffsetAndMetadata(growth.after, note)})
    except KafkaError as error:
        raise Unavailable(f"Kafka did not take the note about the growth: {error}") from error


def _growth(committed: Mapping[TopicPartition, OffsetAndMetadata]) -> Growth | None:
    found = committed.get(_PARTITION)
    if found is None or found.offset < 0 or not found.metadata:
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        note = json.loads(found.metadata)
        return Growth(int(note["before"]), int(note["after"]), float(note["at"]))
    log.warning("the note about the last growth of the topics cannot be read: %r", found.metadata)
    return None


async def until_settled(
    clients: KafkaClients,
    group: str,
    topics: Sequence[str],
    slot: int,
    consumer: AIOKafkaConsumer,
    *,
    pause: float,
    wanted: Callable[[], bool],
) -> None:
    """Returns when a slot without a previous owner may take in records, or is no longer `wanted`. Raises `KafkaError`."""
    growth = await last_growth(clients)
    origin = growth.origin(slot) if growth else None
    if growth is None or origin is None:
        return
    wait = growth.at + pause - time.time()
    if wait > 0:
        log.info("slot %s-%d is new: it begins in %.0f s, after slot %d", group, slot, wait, origin)
    while wanted() and time.time() < growth.at + pause:
        await asyncio.sleep(0.2)
    ends: Mapping[TopicPartition, int] = await consumer.end_offsets([TopicPartition(t, origin) for t in topics])
    while wanted() and not await _settled(clients, group, ends):
        await asyncio.sleep(0.5)
    if wanted():
        log.info("slot %s-%d begins: slot %d has published what it had", group, slot, origin)
