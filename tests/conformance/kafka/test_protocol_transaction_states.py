"""Transactions one request at a time: what is refused, and what may be asked twice."""

from __future__ import annotations

import pytest
from kafka_access import KafkaAccess, unique, until
from kafka_wire import READ_COMMITTED, Wire
from wire_producer import WireProducer


@pytest.fixture
async def producer(wire: Wire) -> WireProducer:
    """A producer of a transactional id of its own."""
    return await WireProducer.init(wire, unique("transactional"))


async def test_a_new_producer_of_an_id_keeps_its_producer_id_and_has_a_newer_epoch(
    wire: Wire, producer: WireProducer
) -> None:
    again = await WireProducer.init(wire, producer.transactional_id)
    assert again.id == producer.id
    assert again.epoch > producer.epoch


async def test_different_ids_have_different_producers(wire: Wire, producer: WireProducer) -> None:
    other = await WireProducer.init(wire, unique("transactional"))
    assert other.id != producer.id


async def test_a_partition_must_be_added_before_it_is_written_to(access: KafkaAccess, producer: WireProducer) -> None:
    topic = await access.topic(2)
    assert await producer.add_partition(topic, 0) == "NoError"
    assert await producer.produce(topic, b"x", sequence=0, partition=1) == ("InvalidTxnState", -1)
    assert await producer.produce(topic, b"x", sequence=0, partition=0) == ("NoError", 0)


async def test_a_partition_may_be_added_twice(access: KafkaAccess, producer: WireProducer) -> None:
    topic = await access.topic()
    assert await producer.add_partition(topic) == "NoError"
    assert await producer.add_partition(topic) == "NoError"
    await producer.produce(topic, b"x", sequence=0)
    assert await producer.end(commit=True) == "NoError"
    assert await access.settled_values(topic) == [b"x"]


async def test_a_partition_that_does_not_exist_cannot_be_added(access: KafkaAccess, producer: WireProducer) -> None:
    assert await producer.add_partition(unique("unknown")) == "UnknownTopicOrPartitionError"


async def test_a_partition_must_be_added_again_for_the_next_transaction(
    access: KafkaAccess, wire: Wire, producer: WireProducer
) -> None:
    topic = await access.topic()
    await producer.add_partition(topic)
    await producer.produce(topic, b"x", sequence=0)
    await producer.end(commit=True)
    await wire.settled(topic)
    assert (await producer.produce(topic, b"y", sequence=1))[0] == "InvalidTxnState"
    await producer.add_partition(topic)
    assert (await producer.produce(topic, b"y", sequence=1))[0] == "NoError"


async def test_the_same_end_may_be_asked_for_again_and_another_not(access: KafkaAccess, producer: WireProducer) -> None:
    topic = await access.topic()
    await producer.add_partition(topic)
    await producer.produce(topic, b"x", sequence=0)
    assert await producer.end(commit=True) == "NoError"
    assert await producer.end(commit=True) == "NoError"
    assert await producer.end(commit=False) == "InvalidTxnState"
    assert await access.settled_values(topic) == [b"x"]


async def test_what_was_not_begun_cannot_be_ended(producer: WireProducer) -> None:
    assert await producer.end(commit=True) == "InvalidTxnState"


async def test_an_older_epoch_is_refused_at_every_step(access: KafkaAccess, wire: Wire, producer: WireProducer) -> None:
    topic, group = await access.topic(), unique("group")
    await producer.add_partition(topic)
    await producer.produce(topic, b"zombie", sequence=0)
    await producer.add_group(group)
    owner = await WireProducer.init(wire, producer.transactional_id)
    await owner.add_partition(topic)
    for refused in (
        await producer.add_partition(topic),
        await producer.add_group(group),
        await producer.commit_offset(group, topic, 5),
        await producer.end(commit=True),
        (await producer.produce(topic, b"zombie", sequence=1))[0],
    ):
        assert refused == "InvalidProducerEpoch"
    assert (await owner.produce(topic, b"owner", sequence=0))[0] == "NoError"
    assert await owner.end(commit=True) == "NoError"
    assert await access.settled_values(topic) == [b"owner"]


async def test_a_producer_that_the_id_does_not_know_is_refused(access: KafkaAccess, producer: WireProducer) -> None:
    topic = await access.topic()
    stranger = WireProducer(producer.wire, unique("never-made"), producer.id, producer.epoch)
    assert await stranger.add_partition(topic) == "InvalidProducerIdMapping"
    stranger = WireProducer(producer.wire, producer.transactional_id, producer.id + 1_000_000, producer.epoch)
    assert await stranger.add_partition(topic) == "InvalidProducerIdMapping"


async def test_a_transaction_may_be_empty(access: KafkaAccess, producer: WireProducer) -> None:
    topic = await access.topic()
    await producer.add_partition(topic)
    assert await producer.end(commit=True) == "NoError"
    assert await access.settled_values(topic) == []


async def test_a_repeated_batch_of_a_transaction_is_not_appended(access: KafkaAccess, producer: WireProducer) -> None:
    topic = await access.topic()
    await producer.add_partition(topic)
    assert await producer.produce(topic, b"x", sequence=0) == ("NoError", 0)
    assert await producer.produce(topic, b"x", sequence=0) == ("NoError", 0)
    await producer.end(commit=True)
    assert await access.settled_values(topic) == [b"x"]


async def test_the_sequence_goes_on_from_one_transaction_to_the_next(
    access: KafkaAccess, producer: WireProducer
) -> None:
    topic = await access.topic()
    for number in range(3):
        await producer.add_partition(topic)
        assert (await producer.produce(topic, b"%d" % number, sequence=number))[0] == "NoError"
        await producer.end(commit=number != 1)
    assert await access.settled_values(topic) == [b"0", b"2"]


async def test_offsets_wait_for_the_transaction_that_carries_them(access: KafkaAccess, producer: WireProducer) -> None:
    topic, group = await access.topic(), unique("group")
    assert await producer.add_group(group) == "NoError"
    assert await producer.commit_offset(group, topic, 5) == "NoError"
    assert await access.committed(group, topic) is None
    assert await producer.end(commit=True) == "NoError"
    await until(lambda: access.committed(group, topic), lambda stored: stored is not None and stored.offset == 5)


async def test_the_aborted_transactions_of_a_fetch_are_those_of_its_records(
    access: KafkaAccess, wire: Wire, producer: WireProducer
) -> None:
    topic = await access.topic()
    for number in range(2):
        await producer.add_partition(topic)
        await producer.produce(topic, b"x", sequence=number)
        await producer.end(commit=False)
    await wire.settled(topic)
    everything = (await wire.fetch(topic, isolation_level=READ_COMMITTED))[0]
    assert everything.aborted == [(producer.id, 0), (producer.id, 2)]
    rest = (await wire.fetch(topic, {0: 2}, isolation_level=READ_COMMITTED))[0]
    assert rest.aborted == [(producer.id, 2)]
    assert (await wire.fetch(topic))[0].aborted == []
