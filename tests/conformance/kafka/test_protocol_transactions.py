from __future__ import annotations

import time

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import ProducerFenced
from kafka_access import KafkaAccess, take, unique
from kafka_wire import Wire

COMMITTED = "read_committed"


async def commit(producer: AIOKafkaProducer, topic: str, *values: bytes, partition: int = 0) -> None:
    async with producer.transaction():
        for value in values:
            await producer.send_and_wait(topic, value, partition=partition)


async def abort(producer: AIOKafkaProducer, topic: str, *values: bytes, partition: int = 0) -> None:
    await begin(producer, topic, *values, partition=partition)
    await producer.abort_transaction()


async def begin(producer: AIOKafkaProducer, topic: str, *values: bytes, partition: int = 0) -> None:
    await producer.begin_transaction()
    for value in values:
        await producer.send_and_wait(topic, value, partition=partition)


async def test_a_transaction_writes_to_all_its_partitions_or_to_none(access: KafkaAccess) -> None:
    one, two, producer = await access.topic(2), await access.topic(), await access.transactional()
    places = [(one, 0), (one, 1), (two, 0)]
    for value, end in ((b"kept", producer.commit_transaction), (b"dropped", producer.abort_transaction)):
        await producer.begin_transaction()
        for topic, partition in places:
            await producer.send(topic, value, partition=partition)
        await end()
    assert await access.settled_values(one) == [b"kept", b"kept"]
    assert await access.settled_values(two) == [b"kept"]


async def test_only_readers_of_uncommitted_records_see_what_was_aborted(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.transactional()
    await commit(producer, topic, b"first")
    await abort(producer, topic, b"aborted", b"aborted too")
    await commit(producer, topic, b"second")
    assert await access.settled_values(topic) == [b"first", b"second"]
    assert await access.values(topic) == [b"first", b"aborted", b"aborted too", b"second"]


async def test_the_end_of_a_transaction_takes_an_offset(access: KafkaAccess, wire: Wire) -> None:
    topic, producer = await access.topic(), await access.transactional()
    await commit(producer, topic, b"a", b"b")
    await abort(producer, topic, b"c")
    await commit(producer, topic, b"d")
    assert await wire.settled(topic) == 7
    assert [(r.offset, r.value) for r in await access.read(topic, COMMITTED)] == [(0, b"a"), (1, b"b"), (5, b"d")]


async def test_an_open_transaction_holds_back_what_comes_after_it(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.transactional()
    await access.send(topic, b"before")
    await begin(producer, topic, b"open")
    await access.send(topic, b"after")
    assert await access.values(topic, COMMITTED) == [b"before"]
    assert await access.values(topic) == [b"before", b"open", b"after"]
    await producer.commit_transaction()
    assert await access.settled_values(topic) == [b"before", b"open", b"after"]


async def test_the_oldest_of_several_open_transactions_holds_back(access: KafkaAccess) -> None:
    topic, older, younger = await access.topic(), await access.transactional(), await access.transactional()
    await begin(older, topic, b"older")
    await begin(younger, topic, b"younger")
    await younger.commit_transaction()
    assert await access.values(topic, COMMITTED) == []
    await older.abort_transaction()
    assert await access.settled_values(topic) == [b"younger"]


async def test_an_open_transaction_holds_back_only_its_partitions(access: KafkaAccess) -> None:
    topic, producer = await access.topic(2), await access.transactional()
    await begin(producer, topic, b"open", partition=0)
    await access.send(topic, b"elsewhere", partition=1)
    assert await access.values(topic, COMMITTED) == [b"elsewhere"]


async def test_interleaved_transactions_are_told_apart(access: KafkaAccess) -> None:
    topic, kept, dropped = await access.topic(), await access.transactional(), await access.transactional()
    for round_number in range(3):
        await begin(kept, topic, b"kept %d" % round_number)
        await begin(dropped, topic, b"dropped")
        await kept.send_and_wait(topic, b"kept %d too" % round_number, partition=0)
        await access.send(topic, b"plain %d" % round_number)
        await dropped.abort_transaction()
        await kept.commit_transaction()
    assert await access.settled_values(topic) == [
        value % round_number for round_number in range(3) for value in (b"kept %d", b"kept %d too", b"plain %d")
    ]


async def test_a_reader_that_begins_inside_an_aborted_transaction_sees_nothing_of_it(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.transactional()
    await abort(producer, topic, b"a", b"b", b"c", b"d")
    await commit(producer, topic, b"kept")
    partition, consumer = TopicPartition(topic, 0), await access.reader(topic, isolation_level=COMMITTED)
    for offset in range(5):
        consumer.seek(partition, offset)
        assert [record.value for record in await take(consumer, 1)] == [b"kept"]


async def test_a_reader_of_committed_records_goes_on_when_the_transaction_ends(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.transactional()
    consumer = await access.reader(topic, isolation_level=COMMITTED)
    await begin(producer, topic, b"held back")
    await access.send(topic, b"after")
    assert await consumer.getmany(timeout_ms=300) == {}
    await producer.commit_transaction()
    assert [record.value for record in await take(consumer, 2)] == [b"held back", b"after"]


async def test_a_producer_makes_one_transaction_after_another(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.transactional()
    for number in range(20):
        await commit(producer, topic, b"%d" % number)
    assert await access.settled_values(topic) == [b"%d" % number for number in range(20)]


async def test_an_older_producer_of_the_same_id_is_fenced(access: KafkaAccess) -> None:
    topic, identity = await access.topic(), unique("transactional")
    zombie = await access.transactional(identity)
    await commit(zombie, topic, b"old")
    owner = await access.transactional(identity)
    with pytest.raises(ProducerFenced):
        await commit(zombie, topic, b"zombie")
    await commit(owner, topic, b"new")
    assert await access.settled_values(topic) == [b"old", b"new"]


async def test_a_new_owner_ends_what_the_old_one_left_open(access: KafkaAccess) -> None:
    topic, identity = await access.topic(), unique("transactional")
    gone = await access.transactional(identity)
    await begin(gone, topic, b"left open")
    owner = await access.transactional(identity)
    await commit(owner, topic, b"new")
    assert await access.settled_values(topic) == [b"new"]
    with pytest.raises(ProducerFenced):
        await gone.commit_transaction()
    assert await access.settled_values(topic) == [b"new"]


async def test_ids_of_other_producers_are_left_alone(access: KafkaAccess) -> None:
    topic, one = await access.topic(), await access.transactional()
    await begin(one, topic, b"one")
    two = await access.transactional()
    await commit(two, topic, b"two")
    await one.commit_transaction()
    assert await access.settled_values(topic) == [b"one", b"two"]


async def test_a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced(access: KafkaAccess) -> None:
    topic, producer = await access.topic(), await access.transactional(transaction_timeout_ms=2000)
    start = time.monotonic()
    await begin(producer, topic, b"forgotten")
    await access.send(topic, b"after")
    consumer = await access.reader(topic, isolation_level=COMMITTED)
    assert [record.value for record in await take(consumer, 1)] == [b"after"]
    assert time.monotonic() - start > 1.9
    with pytest.raises(ProducerFenced):
        await producer.commit_transaction()
    assert await access.settled_values(topic) == [b"after"]
