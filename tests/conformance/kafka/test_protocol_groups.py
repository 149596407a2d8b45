from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import group_reader
import pytest
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from group_reader import MEMBERSHIP, SESSION_SECONDS, GroupReader
from kafka_access import KafkaAccess, take, unique, until_true

ALL = set(range(12))
LONG_SESSION_MS = 600_000
"""Far longer than a test waits for anything."""


@asynccontextmanager
async def reading(access: KafkaAccess, topic: str, group: str, **options: Any) -> AsyncIterator[GroupReader]:
    consumer = await access.consumer(group_id=group, **{**MEMBERSHIP, **options})
    reader = GroupReader(consumer, topic)
    try:
        yield reader
    finally:
        await reader.stop()


@asynccontextmanager
async def killable(access: KafkaAccess, topic: str, group: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A member in a process of its own that has partitions already."""
    arguments = [str(Path(group_reader.__file__)), access.bootstrap, topic, group]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    try:
        share = await asyncio.wait_for(process.stdout.readline(), 120)
        assert int(share) > 0
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def spread(access: KafkaAccess, topic: str, count: int) -> None:
    """Records to all twelve partitions in turn."""
    producer = await access.producer(linger_ms=5)
    await asyncio.gather(*[await producer.send(topic, b"%d" % i, partition=i % 12) for i in range(count)])
    await producer.stop()


def shared(*readers: GroupReader) -> Callable[[], bool]:
    """Whether each partition has one owner and each reader an equal share."""
    share = len(ALL) // len(readers)
    return lambda: (
        set().union(*(r.partitions for r in readers)) == ALL and all(len(r.partitions) == share for r in readers)
    )


def seen(*readers: GroupReader) -> list[tuple[int, int]]:
    return sorted(place for reader in readers for place in reader.seen)


def places(per_partition: int) -> list[tuple[int, int]]:
    return [(partition, offset) for partition in sorted(ALL) for offset in range(per_partition)]


async def test_members_share_the_partitions_and_each_record_is_read_by_one(access: KafkaAccess) -> None:
    topic, group = await access.topic(12), unique("group")
    async with reading(access, topic, group) as one, reading(access, topic, group) as two:
        await until_true(shared(one, two))
        await spread(access, topic, 240)
        await until_true(lambda: len(seen(one, two)) >= 240)
        assert seen(one, two) == places(20)


async def test_a_rebalance_takes_everything_away_before_it_gives(access: KafkaAccess) -> None:
    topic, group = await access.topic(12), unique("group")
    async with reading(access, topic, group) as one:
        await until_true(lambda: one.partitions == ALL)
        async with reading(access, topic, group) as two:
            await until_true(shared(one, two))
            await until_true(lambda: one.changes[-1] == ("assigned", one.partitions))
            assert one.changes[-2] == ("revoked", ALL)


async def test_a_member_that_leaves_is_replaced_long_before_its_session_ends(access: KafkaAccess) -> None:
    topic, group = await access.topic(12), unique("group")
    long = {"session_timeout_ms": LONG_SESSION_MS}
    async with reading(access, topic, group, **long) as one, reading(access, topic, group, **long) as two:
        await until_true(shared(one, two))
        await two.stop()
        await until_true(lambda: one.partitions == ALL)


async def test_a_killed_member_is_replaced_when_its_session_ends_and_nothing_is_lost(access: KafkaAccess) -> None:
    topic, group = await access.topic(12), unique("group")
    async with reading(access, topic, group) as one, killable(access, topic, group) as victim:
        await until_true(lambda: len(one.partitions) == 6)
        victim.kill()
        killed = time.monotonic()
        await spread(access, topic, 120)
        await until_true(lambda: one.partitions == ALL)
        # The broker is told nothing: it counts from the last heartbeat, which may be old where the machine is busy.
        assert time.monotonic() - killed > SESSION_SECONDS / 2
        await until_true(lambda: len(one.seen) >= 120)
        assert seen(one) == places(10)


async def test_a_new_member_goes_on_where_the_group_stopped(access: KafkaAccess) -> None:
    topic, group = await access.topic(12), unique("group")
    await spread(access, topic, 120)
    async with reading(access, topic, group) as one:
        await until_true(lambda: len(one.seen) >= 120)
    await spread(access, topic, 120)
    async with reading(access, topic, group) as two:
        await until_true(lambda: len(two.seen) >= 120)
        assert seen(two) == [place for place in places(20) if place[1] >= 10]


async def test_members_join_at_once_without_losing_a_record(access: KafkaAccess) -> None:
    topic, group = await access.topic(12), unique("group")
    await spread(access, topic, 240)
    async with (
        reading(access, topic, group) as one,
        reading(access, topic, group) as two,
        reading(access, topic, group) as three,
    ):
        await until_true(shared(one, two, three))
        await until_true(lambda: set(seen(one, two, three)) == set(places(20)))


async def test_the_range_assignor_gives_the_same_partitions_of_equal_topics(access: KafkaAccess) -> None:
    first, second, group = await access.topic(8), await access.topic(8), unique("group")
    consumers = [await access.consumer(first, second, group_id=group, **MEMBERSHIP) for _ in range(2)]
    polls = [asyncio.create_task(consumer.getone()) for consumer in consumers]
    await until_true(lambda: all(len(consumer.assignment()) == 8 for consumer in consumers))
    owned = [{t: {tp.partition for tp in c.assignment() if tp.topic == t} for t in (first, second)} for c in consumers]
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    assert all(numbers[first] == numbers[second] for numbers in owned)
    assert sorted(len(numbers[first]) for numbers in owned) == [4, 4]
    assert owned[0][first] | owned[1][first] == set(range(8))


@pytest.mark.parametrize("assignor", [RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor])
async def test_every_assignor_of_the_client_works(access: KafkaAccess, assignor: type) -> None:
    topic = await access.topic(4)
    await access.send(topic, b"x")
    own = type("Own", (assignor,), {})  # the sticky one keeps its state on the class
    consumer = await access.consumer(topic, group_id=unique("group"), partition_assignment_strategy=[own])
    assert (await take(consumer, 1))[0].value == b"x"


async def test_a_group_may_subscribe_by_pattern(access: KafkaAccess) -> None:
    topic = await access.topic(4)
    await access.send(topic, b"x")
    consumer = await access.consumer(group_id=unique("group"))
    consumer.subscribe(pattern=f"^{topic}$")
    assert (await take(consumer, 1))[0].value == b"x"


async def test_a_static_member_that_comes_back_has_its_partitions_before_its_session_ends(access: KafkaAccess) -> None:
    topic, group = await access.topic(12), unique("group")
    long = {"session_timeout_ms": LONG_SESSION_MS}
    async with reading(access, topic, group, group_instance_id="a", **long) as one:
        async with reading(access, topic, group, group_instance_id="b", **long) as two:
            await until_true(shared(one, two))
            lost = two.partitions
        # aiokafka does not leave the group for a static member, so the partitions still belong to "b".
        async with reading(access, topic, group, group_instance_id="b", **long) as again:
            await until_true(lambda: again.partitions == lost)
            assert one.partitions == ALL - lost


async def test_a_group_and_its_members_are_listed_and_described(access: KafkaAccess) -> None:
    topic, group, admin = await access.topic(12), unique("group"), await access.admin()
    async with reading(access, topic, group) as one:
        await until_true(lambda: one.partitions == ALL)
        assert (group, "consumer") in await admin.list_consumer_groups()
        described = (await admin.describe_consumer_groups([group]))[0].groups[0]
        error, name, state, kind, protocol, members, *_ = described
        assert (error, name, state, kind, protocol, len(members)) == (0, group, "Stable", "consumer", "range", 1)
    described = (await admin.describe_consumer_groups([group]))[0].groups[0]
    assert (described[2], described[5]) == ("Empty", [])
