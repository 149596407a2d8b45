"""A worker's producers where the broker goes away: nothing is waited for without end, and nothing is sent by the dead."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from runtime_kit import NOW, until

from schemas import Envelope, Output, RunStarted, Topic
from streams.embedded import EmbeddedBroker
from streams.kafka_clients import acknowledged, close_consumer, close_producer, enqueue


def an_output(name: str) -> Output:
    event = RunStarted(seq=1, run_id=name, user_id="u", at=NOW, input_id=name, agent_id="default")
    return Output.of(Topic.CHAT_RESPONSES, "acme:th", event, Envelope(name, RunStarted.TYPE, "test", "acme", NOW))


def outputs(*names: str) -> list[Output]:
    return [an_output(name) for name in names]


async def sent(broker: EmbeddedBroker) -> list[str]:
    """The ids of what is in the topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        everywhere = [TopicPartition(Topic.CHAT_RESPONSES.value, p) for p in range(4)]
        consumer.assign(everywhere)
        ends = await consumer.end_offsets(everywhere)
        found: list[str] = []
        while any([await consumer.position(tp) < ends[tp] for tp in everywhere]):
            for records in (await consumer.getmany(timeout_ms=300)).values():
                found += [dict(record.headers)["ce_id"].decode() for record in records]
        return found
    finally:
        await close_consumer(consumer)


async def without_broker(
    broker: EmbeddedBroker, *, transactional: bool
) -> tuple[AIOKafkaProducer, Sequence[asyncio.Future[object]]]:
    """A producer with outputs that it could not send, since the broker is away."""
    more = {"transactional_id": "turns-0"} if transactional else {}
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap,
        enable_idempotence=True,
        request_timeout_ms=60_000,
        retry_backoff_ms=20,
        **more,
    )
    await producer.start()
    if transactional:
        await producer.begin_transaction()
    await (await enqueue(producer, an_output("before")))
    await broker.stop()
    return producer, [await enqueue(producer, output) for output in outputs("a", "b")]


def _aiokafkas_tasks() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if "aiokafka" in task.get_coro().cr_code.co_filename}  # type: ignore[union-attr]


@pytest.mark.parametrize("transactional", [False, True])
async def test_what_a_closed_producer_could_not_send_fails_at_once_and_is_not_sent_later(
    embedded: EmbeddedBroker, transactional: bool
) -> None:
    before = asyncio.all_tasks()
    producer, acks = await without_broker(embedded, transactional=transactional)
    await close_producer(producer, 0.2)
    del producer
    assert all(isinstance(result, KafkaError) for result in await acknowledged(acks))

    await embedded.start()
    await until(lambda: not (_aiokafkas_tasks() - before))
    gc.collect()
    if not transactional:
        assert await sent(embedded) == ["before"]


async def test_who_waits_for_a_producer_that_another_closes_is_told_and_does_not_wait_without_end(
    embedded: EmbeddedBroker,
) -> None:
    """Several records are published by one producer, which the first of them closes when it breaks."""
    producer = AIOKafkaProducer(
        bootstrap_servers=embedded.bootstrap, enable_idempotence=True, request_timeout_ms=60_000, retry_backoff_ms=20
    )
    await producer.start()
    await embedded.stop()
    waiting = asyncio.create_task(enqueue(producer, an_output("waits")))
    await until(lambda: producer.client._md_update_fut is not None)
    await close_producer(producer)
    with pytest.raises(KafkaError):
        await asyncio.wait_for(waiting, 20)
    with pytest.raises(KafkaError):
        await asyncio.wait_for(enqueue(producer, an_output("late")), 20)
