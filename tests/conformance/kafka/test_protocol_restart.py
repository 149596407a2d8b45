"""What was acknowledged is there after `kill -9` of the broker, and clients go on by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete
from aiokafka.structs import OffsetAndMetadata
from group_reader import MEMBERSHIP, GroupReader
from kafka_access import KafkaAccess, take, unique, until, until_true
from kafka_wire import Wire
from wire_producer import WireProducer

from deploy.cluster.process import ServerProcess


@pytest.fixture
async def living(kafka: ServerProcess) -> AsyncIterator[ServerProcess]:
    """The broker under test, which runs again when the test ends."""
    yield kafka
    if not kafka.running:
        await asyncio.to_thread(kafka.start)


async def crash(server: ServerProcess) -> None:
    """Kills the broker and starts it again; it answers when this returns."""
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def test_everything_acknowledged_survives_the_death_of_the_broker(living: ServerProcess) -> None:
    group, transactional_id = unique("group"), unique("transactional")
    async with KafkaAccess(living.address) as access:
        topic = await access.topic(3)
        await access.send(topic, *[b"%d" % number for number in range(500)], partition=0)
        producer = await access.transactional(transactional_id)
        async with producer.transaction():
            await producer.send(topic, b"committed", partition=1)
            await producer.send_offsets_to_transaction({TopicPartition(topic, 0): OffsetAndMetadata(9, "done")}, group)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted", partition=1)
        await producer.abort_transaction()
        await access.settled_values(topic)
        await until(lambda: access.committed(group, topic), lambda stored: stored is not None)
    await crash(living)
    async with KafkaAccess(living.address) as access:
        await access.served(topic, 3)
        assert await access.settled_values(topic) == [*[b"%d" % number for number in range(500)], b"committed"]
        assert await access.committed(group, topic) == OffsetAndMetadata(9, "done")
        described = (await (await access.admin()).describe_topics([topic]))[0]
        assert len(described["partitions"]) == 3


async def test_a_transaction_that_was_open_is_never_committed_and_its_id_goes_on(living: ServerProcess) -> None:
    group, transactional_id = unique("group"), unique("transactional")
    async with KafkaAccess(living.address) as access:
        topic = await access.topic()
        source = TopicPartition(topic, 0)
        producer = await access.transactional(transactional_id)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"left open", partition=0)
        await producer.send_offsets_to_transaction({source: OffsetAndMetadata(7, "left open")}, group)
        await asyncio.to_thread(living.kill)
    await asyncio.to_thread(living.start)
    async with KafkaAccess(living.address) as access:
        await access.served(topic, 1)
        owner = await access.transactional(transactional_id)
        async with owner.transaction():
            await owner.send_and_wait(topic, b"new", partition=0)
        assert await access.settled_values(topic) == [b"new"]
        assert await access.committed(group, topic) is None


async def test_a_batch_that_is_repeated_after_the_death_of_the_broker_is_known_again(living: ServerProcess) -> None:
    async with KafkaAccess(living.address) as access:
        topic = await access.topic()
        async with await Wire.connect(living.address) as wire:
            producer = await WireProducer.init(wire)
            for sequence in range(3):
                await producer.produce(topic, b"x", sequence=sequence)
        await crash(living)
        await access.served(topic, 1)
        async with await Wire.connect(living.address) as wire:
            producer.wire = wire
            assert await producer.produce(topic, b"x", sequence=2) == ("NoError", 2)
            assert await producer.produce(topic, b"x", sequence=9) == ("OutOfOrderSequenceNumber", -1)
            assert await producer.produce(topic, b"x", sequence=3) == ("NoError", 3)
            other = await WireProducer.init(wire)
            assert other.id != producer.id


async def test_clients_go_on_when_the_broker_comes_back(living: ServerProcess) -> None:
    async with KafkaAccess(living.address) as access:
        topic, group = await access.topic(4), unique("group")
        producer = await access.producer(enable_idempotence=True, request_timeout_ms=60_000)
        reader = GroupReader(await access.consumer(group_id=group, **MEMBERSHIP), topic)
        for number in range(20):
            await producer.send_and_wait(topic, b"%d" % number, partition=number % 4)
        await until_true(lambda: len(reader.seen) >= 20)
        sends = [await producer.send(topic, b"%d" % number, partition=number % 4) for number in range(20, 40)]
        await crash(living)
        await asyncio.wait_for(asyncio.gather(*sends), 120)
        await producer.send_and_wait(topic, b"40", partition=0)
        await until_true(lambda: len(set(reader.seen)) >= 41)
        await reader.stop()
        assert sorted(int(value) for value in await access.values(topic)) == list(range(41))


async def test_deleted_records_stay_deleted_over_an_orderly_restart(living: ServerProcess) -> None:
    async with KafkaAccess(living.address) as access:
        plain, grown = await access.topic(), await access.topic()
        admin = await access.admin()
        for topic in (plain, grown):
            await access.send(topic, *[b"%d" % number for number in range(10)])
            await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(6)})
        await admin.create_partitions({grown: NewPartitions(2)})
        await access.served(grown, 2)
    await asyncio.to_thread(living.restart)
    async with KafkaAccess(living.address) as access:
        for topic in (plain, grown):
            reader = await access.reader(topic)
            assert [record.offset for record in await take(reader, 4)] == [6, 7, 8, 9]
