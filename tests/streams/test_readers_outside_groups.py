"""Who reads topics by position, in no group, reads past what cannot be read and says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from odd_batches import CODECS, batch_of, damage, with_body, write

from schemas import NotFound, RawRecord, Topic
from streams.dead_letters import dead_letter_outputs, find_dead_letter, list_dead_letters, replay
from streams.embedded import EmbeddedBroker
from streams.growth import _has_records
from streams.kafka_clients import close_consumer
from streams.reading import read_since
from streams.tail import Tail

NOW = datetime.now(UTC)


def letter_of(n: int) -> bytes:
    raw = RawRecord("chat.messages", 0, n, 0, b"k", b"value-%d" % n)
    return dead_letter_outputs(raw, group="turns", reason=f"reason {n}", attempts=1, at=NOW)[0].value


async def put(kafka: str, tp: TopicPartition, *batches: bytes) -> None:
    for batch in batches:
        assert (await write(kafka, tp, batch))[0] == "NoError"


async def test_a_dead_letter_that_cannot_be_read_is_listed_as_such_beside_the_others(
    embedded: EmbeddedBroker, tmp_path: Path
) -> None:
    tp = TopicPartition(Topic.DEAD_LETTERS.value, 0)
    good = [batch_of((b"k", letter_of(n), ())) for n in range(3)]
    await put(embedded.bootstrap, tp, good[0], batch_of((b"k", b"no letter", ())), good[1], good[2])
    damage(tmp_path / "kafka", tp, 2)
    rows = {row.number: row for row in await list_dead_letters(embedded.bootstrap)}
    assert [rows[f"0-{n}"].letter.reason.partition(":")[0] for n in range(4)] == [
        "reason 0",
        "this dead letter itself cannot be read",
        "this dead letter itself cannot be read",
        "reason 2",
    ]
    assert "check sum" in rows["0-2"].letter.reason
    assert (await find_dead_letter(embedded.bootstrap, "0-2")).letter.reason == rows["0-2"].letter.reason
    assert (await find_dead_letter(embedded.bootstrap, "0-3")).letter == rows["0-3"].letter
    for nowhere in ("0-4", "7-0"):
        with pytest.raises(NotFound):
            await find_dead_letter(embedded.bootstrap, nowhere)
    with pytest.raises(NotFound, match="check sum"):
        await replay(embedded.bootstrap, [rows["0-2"]])


async def test_dead_letters_far_behind_aborted_ones_are_found(embedded: EmbeddedBroker) -> None:
    tp = TopicPartition(Topic.DEAD_LETTERS.value, 0)
    await put(embedded.bootstrap, tp, batch_of((b"k", letter_of(1), ())))
    producer = AIOKafkaProducer(bootstrap_servers=embedded.bootstrap, transactional_id="odd")
    await producer.start()
    for _ in range(20):
        await producer.begin_transaction()
        await producer.send_and_wait(tp.topic, b"aborted", partition=0)
        await producer.abort_transaction()
    await producer.stop()
    assert [row.letter.reason for row in await list_dead_letters(embedded.bootstrap, limit=2)] == ["reason 1"]


async def test_no_topic_of_dead_letters_is_not_told_as_no_dead_letters(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path / "empty") as broker:
        with pytest.raises(NotFound, match="cauce topics apply"):
            await list_dead_letters(broker.bootstrap)
        with pytest.raises(NotFound, match="cauce topics apply"):
            [raw async for raw in read_since(broker.bootstrap, [Topic.CHAT_MESSAGES], NOW, unreadable=print)]


async def test_what_is_read_again_after_a_restore_goes_past_what_cannot_be_read_and_names_it(
    embedded: EmbeddedBroker,
) -> None:
    tp = TopicPartition(Topic.CHAT_RESPONSES.value, 1)
    one = [batch_of((b"k", b"%d" % n, ())) for n in range(4)]
    await put(embedded.bootstrap, tp, one[0], with_body(one[1], b"odd", CODECS["zstd"]), one[2], one[3])
    told: list[str] = []
    since = NOW - timedelta(hours=1)
    found = [raw async for raw in read_since(embedded.bootstrap, [Topic.CHAT_RESPONSES], since, unreadable=told.append)]
    assert [raw.value for raw in found] == [b"0", b"2", b"3"]
    (words,) = told
    assert words.startswith(f"{tp.topic}/1, offsets 1 to 1: ")
    assert "zstd" in words


async def test_what_cannot_be_read_is_something_that_a_new_slot_waits_for(embedded: EmbeddedBroker) -> None:
    tp = TopicPartition(Topic.CHAT_MESSAGES.value, 1)
    await put(embedded.bootstrap, tp, with_body(batch_of((b"k", b"x", ())), b"odd", CODECS["gzip"]))
    assert await _has_records(embedded.bootstrap, tp, 0, 1)
    assert not await _has_records(embedded.bootstrap, tp, 1, 1)


async def test_a_follower_misses_nothing_beside_what_cannot_be_read(embedded: EmbeddedBroker) -> None:
    topic = Topic.CHAT_RESPONSES.value
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=embedded.bootstrap, auto_offset_reset="latest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        tail = Tail(consumer, embedded.bootstrap, committed=False)
        await tail.begin()
        whole = batch_of((b"k", b"x", ()))
        for n in range(40):
            tp = TopicPartition(topic, n % 4)
            await put(embedded.bootstrap, tp, batch_of((b"k", b"%d" % n, ())))
            if n % 10 == 5:
                await put(embedded.bootstrap, tp, with_body(whole, b"odd", CODECS["lz4"]))
        found: list[bytes | None] = []
        while len(found) < 40:
            found += [raw.value for raw in await tail.poll(200)]
        assert sorted(int(value or b"") for value in found) == list(range(40))
    finally:
        await close_consumer(consumer)
