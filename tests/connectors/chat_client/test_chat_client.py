"""The chat client on a real broker: what it sends is what the registry says, what it reads is in order and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from connectors.chat_client import ChatClient
from schemas import (
    ApprovalDecision,
    BadRecord,
    CancelRun,
    Delta,
    Envelope,
    PartitionSet,
    RawRecord,
    Record,
    RunCompleted,
    RunPaused,
    RunStarted,
    ThreadEvent,
    TooLarge,
    Topic,
    Unavailable,
    UserMessage,
    decode,
)
from streams import topic_admin
from streams.embedded import EmbeddedBroker
from streams.kafka_clients import close_consumer

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(tmp_path / "kafka") as running:
        await topic_admin.apply(running.bootstrap, partitions={PartitionSet.CONVERSATION: 4, PartitionSet.TENANT: 2})
        yield running


@pytest.fixture
async def client(broker: EmbeddedBroker) -> AsyncIterator[ChatClient]:
    async with ChatClient(broker.bootstrap, "acme", "u1") as connected:
        yield connected


@pytest.fixture
async def producer(broker: EmbeddedBroker) -> AsyncIterator[AIOKafkaProducer]:
    producing = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
    await producing.start()
    yield producing
    await producing.stop()


async def sent(broker: EmbeddedBroker, count: int) -> list[Record]:
    """The first records of `chat.messages`, decoded as a processor decodes them, in the order they were sent."""
    consumer = AIOKafkaConsumer(
        Topic.CHAT_MESSAGES.value, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(120):
            found = [await anext(consumer) for _ in range(count)]
    finally:
        await close_consumer(consumer)
    found.sort(key=lambda r: r.timestamp)
    return [decode(RawRecord(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)) for r in found]


async def emit(
    producer: AIOKafkaProducer, event: ThreadEvent | Delta, thread: str = "t1", tenant: str = "acme"
) -> None:
    topic = Topic.CHAT_DELTAS if isinstance(event, Delta) else Topic.CHAT_RESPONSES
    head = Envelope(f"e{id(event)}", event.TYPE, "test", tenant, NOW).headers()
    await producer.send_and_wait(topic.value, event.to_bytes(), key=f"{tenant}:{thread}".encode(), headers=list(head))


def started(seq: int, run: str = "r1") -> RunStarted:
    return RunStarted(seq=seq, run_id=run, user_id="u1", at=NOW, input_id=run, agent_id="default")


def completed(seq: int, run: str = "r1") -> RunCompleted:
    return RunCompleted(seq=seq, run_id=run, user_id="u1", at=NOW, message_id="m1", turns=1)


def piece(run: str, text: str) -> Delta:
    return Delta(run_id=run, message_id="m1", turn=1, attempt=1, index=0, text=text)


async def test_what_it_sends_is_what_processors_read(broker: EmbeddedBroker, client: ChatClient) -> None:
    run = await client.send("t1", "hello", multitask_strategy="interrupt")
    await client.decide("t1", "c1", "edit", arguments={"to": "ana"})
    await client.cancel("t1", run)
    message, decision, cancel = await sent(broker, 3)
    assert message.envelope.id == run
    assert message.body == UserMessage(user_id="u1", text="hello", multitask_strategy="interrupt")
    assert decision.body == ApprovalDecision(user_id="u1", call_id="c1", decision="edit", arguments={"to": "ana"})
    assert cancel.body == CancelRun(user_id="u1", run_id=run)
    assert {(r.key, r.raw.partition) for r in (message, decision, cancel)} == {("acme:t1", message.raw.partition)}
    assert all(r.envelope.traceparent for r in (message, decision, cancel))


async def test_a_thread_that_is_no_id_is_refused_before_it_is_sent(client: ChatClient) -> None:
    with pytest.raises(BadRecord, match="not of the form"):
        await client.send("../other:t1", "hello")


async def test_a_message_that_its_reader_would_refuse_is_refused_in_words_before_it_is_sent(client: ChatClient) -> None:
    with pytest.raises(TooLarge, match=r"nothing was sent: .* 900,000 fit"):
        await client.send("t1", "\0" * 190_000)
    with pytest.raises(TooLarge, match="nothing was sent: String should have at most 200000 characters"):
        await client.send("t1", "é" * 500_000)
    with pytest.raises(TooLarge, match=r"nothing was sent: .* 900,000 fit"):
        await client.decide("t1", "c1", "edit", arguments={"text": "x" * 1_000_000})


async def test_events_of_the_tenant_come_once_and_in_order(client: ChatClient, producer: AIOKafkaProducer) -> None:
    listener = await client.listen()
    for event in (started(1), started(1), completed(2), started(1), completed(2), started(3, "r2")):
        await emit(producer, event)
    await emit(producer, started(1), tenant="acme2")
    await emit(producer, started(1), thread="t2")
    found: dict[str, list[int]] = {}
    async with asyncio.timeout(120):
        async for thread, event in listener.events():
            assert isinstance(event, ThreadEvent)
            found.setdefault(thread, []).append(event.seq)
            if found == {"t1": [1, 2, 3], "t2": [1]}:
                break
    await listener.close()


@pytest.mark.parametrize(
    "last",
    [completed(2), RunPaused(seq=2, run_id="r1", user_id="u1", at=NOW, reason="approval", call_ids=("c1",))],
    ids=["completed", "paused"],
)
async def test_a_run_is_followed_to_its_end_or_its_pause(
    client: ChatClient, producer: AIOKafkaProducer, last: ThreadEvent
) -> None:
    listener = await client.listen()
    await emit(producer, started(1))
    await emit(producer, piece("r0", "of another run"))
    async with asyncio.timeout(120):
        following = listener.run("t1", "r1")
        assert await anext(following) == started(1)
        await emit(producer, piece("r1", "hel"))
        assert await anext(following) == piece("r1", "hel")
        await emit(producer, last)
        assert [event async for event in following] == [last]
    await listener.close()


async def test_an_event_of_a_newer_version_is_passed_over(client: ChatClient, producer: AIOKafkaProducer) -> None:
    listener = await client.listen()
    head = Envelope("e1", "cauce.run.dreamt", "test", "acme", NOW).headers()
    await producer.send_and_wait(Topic.CHAT_RESPONSES.value, b"{}", key=b"acme:t1", headers=list(head))
    await emit(producer, completed(2))
    async with asyncio.timeout(120):
        assert [event async for event in listener.run("t1", "r1")] == [completed(2)]
    await listener.close()


async def test_a_broker_that_is_away_is_said_in_words(unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        async with ChatClient(f"127.0.0.1:{unused_tcp_port}", "acme", "u1"):
            pytest.fail("connected to nothing")
