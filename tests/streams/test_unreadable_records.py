"""Records that cannot be read, on the broker: they cost themselves, they are seen, and nothing of the others is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import TopicPartition, codec
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError
from odd_batches import CODECS, batch_of, damage, with_body, write
from runtime_kit import NOW, QUICK, Answering, Chat, ServedWorker, running, until

from schemas import Envelope, NotFound, RawRecord, Topic, UserMessage, new_id
from streams.batches import HEADER, placed
from streams.dead_letters import dead_letter_outputs, find_dead_letter, list_dead_letters, replay
from streams.embedded import EmbeddedBroker
from streams.kafka_clients import KafkaClients

PLACE = TopicPartition(Topic.CHAT_MESSAGES.value, 3)
OPTIONS = replace(QUICK, looks=3, stall_seconds=0.5)


def message_of(chat: Chat, thread: str = "beside") -> tuple[str, tuple[bytes, bytes, list[tuple[str, bytes | None]]]]:
    """The id and the record of a message."""
    message = new_id("m")
    headers = list(Envelope(message, UserMessage.TYPE, "test", chat.tenant, NOW).headers())
    return message, (f"{chat.tenant}:{thread}".encode(), UserMessage(user_id="u", text="hi").to_bytes(), headers)


async def readiness(worker: ServedWorker) -> tuple[int, str]:
    async with httpx.AsyncClient(timeout=120) as http:
        answer = await http.get(worker.health_address + "/readyz")
        return answer.status_code, answer.text


@contextmanager
def without_cramjam(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(codec, "cramjam", None)
        yield


@pytest.mark.parametrize("name", list(CODECS))
async def test_compressed_records_of_clients_are_answered(kafka: str, name: str) -> None:
    async with running(kafka, Answering()), Chat(kafka) as chat:
        message, record = message_of(chat)
        others = [message_of(chat, f"t{n}") for n in range(3)]
        batch = batch_of(record, *(other for _, other in others), compression=name)
        assert (await write(kafka, PLACE, batch))[0] == "NoError"
        await chat.answered([message, *(other for other, _ in others)])


async def test_of_150_messages_beside_an_unreadable_record_150_are_answered(
    embedded: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And once the library is there the record and those queued behind it are answered, too."""
    async with Chat(embedded.bootstrap) as chat, running(embedded.bootstrap, Answering(), options=OPTIONS) as worker:
        unreadable, record = message_of(chat)
        behind, plain = message_of(chat)
        compressed = batch_of(record, compression="snappy")
        with without_cramjam(monkeypatch):
            _, offset = await write(embedded.bootstrap, PLACE, compressed)
            await write(embedded.bootstrap, PLACE, batch_of(plain))
            messages = []
            for n in range(150):
                message, (key, value, headers) = message_of(chat, f"t{n}")
                await chat.raw(value, key, headers, partition=n % 3)
                messages.append(message)
            await chat.answered(messages)
            status, text = await readiness(worker)
            assert status == 503
            assert f"{PLACE.topic}/{PLACE.partition} cannot be read at offset {offset}" in text
            assert "snappy" in text
            assert "pip install cramjam" in text
            assert not chat.answers[unreadable]
            assert not chat.answers[behind]
            lines = [r for r in caplog.records if r.levelno >= logging.ERROR and "cannot be read" in r.message]
            assert len(lines) == 1, "told once"
            assert f"{PLACE.topic}/{PLACE.partition} cannot be read at offset {offset}" in lines[0].message
            metrics = worker.runtime("turns")._metrics
            assert metrics.unreadable.labels("turns")._value.get() == 1
        await chat.answered([unreadable, behind])
        await until_ready(worker)
        assert not chat.dead


async def until_ready(worker: ServedWorker) -> None:
    async with asyncio.timeout(120):
        while (await readiness(worker))[0] != 200:
            await asyncio.sleep(0.05)


async def test_a_damaged_record_becomes_a_dead_letter_with_its_bytes_and_its_partition_goes_on(
    embedded: EmbeddedBroker, tmp_path: Path
) -> None:
    async with Chat(embedded.bootstrap) as chat:
        before, first = message_of(chat)
        lost, bad = message_of(chat)
        behind, last = message_of(chat)
        for record in (first, bad, last):
            await write(embedded.bootstrap, PLACE, batch_of(record))
        damage(tmp_path / "kafka", PLACE, 1)
        async with running(embedded.bootstrap, Answering(), options=OPTIONS) as worker:
            others = [await chat.say(f"t{n}") for n in range(20)]
            await chat.answered([before, behind, *others])
            await until(lambda: bool(chat.dead))
            await until_ready(worker)
            metrics = worker.runtime("turns")._metrics
            for counter in (metrics.dead_letters, metrics.unreadable_given_up):
                assert counter.labels("turns", PLACE.topic)._value.get() == 1
        (row,) = await list_dead_letters(embedded.bootstrap)
        letter = row.letter
        assert (letter.topic, letter.partition, letter.offset, letter.through) == (*PLACE, 1, 1)
        assert "its check sum is wrong" in letter.reason
        assert b"user_id" in (row.raw[1] or b""), "the bytes as they are in the log"
        assert not chat.answers[lost]
        with pytest.raises(NotFound, match="check sum"):
            await replay(embedded.bootstrap, [row])
        again = Answering()
        async with running(embedded.bootstrap, again, options=OPTIONS):
            await chat.answered([await chat.say("t1")])
        assert again.seen.total() == 1, "nothing is done again, and the damaged record is not met again"
        assert len(await list_dead_letters(embedded.bootstrap)) == 1


async def test_broken_bytes_header_names_and_lies_about_offsets_cost_themselves_only(embedded: EmbeddedBroker) -> None:
    async with Chat(embedded.bootstrap) as chat, running(embedded.bootstrap, Answering(), options=OPTIONS):
        whole = batch_of((b"k", b"x", ()))
        body = whole[HEADER.size :]
        for batch in (
            with_body(whole, b"not zstd", CODECS["zstd"]),
            with_body(whole, b"\xff\xff\xff"),
            with_body(whole, b"x", 7),
            with_body(whole, body.replace(b"\x00\x00\x00\x02k", b"\x00\x00\x7e\x02k")),
        ):
            assert (await write(embedded.bootstrap, PLACE, batch))[0] == "NoError"
        odd, (key, value, headers) = message_of(chat)
        named = batch_of((key, value, [*headers, ("odd-name", b"x")]))
        latin = with_body(named, named[HEADER.size :].replace(b"odd-name", b"odd-n\xe4me"))
        assert (await write(embedded.bootstrap, PLACE, latin))[0] == "NoError"
        messages = [message_of(chat, f"t{n}") for n in range(80)]  # past the offset that one of them lied about
        for _, record in messages:
            await write(embedded.bootstrap, PLACE, batch_of(record))
        await chat.answered([odd, *(m for m, _ in messages)])
        await until(lambda: len(chat.dead) == 4)
        assert sorted(letter["offset"] for letter in chat.dead) == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [KafkaError("odd"), ValueError("not even Kafka's"), AssertionError()])
async def test_whatever_a_poll_raises_what_it_had_taken_is_read_again(
    embedded: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    processor = Answering()
    async with Chat(embedded.bootstrap) as chat, running(embedded.bootstrap, processor, options=OPTIONS) as worker:
        runtime = worker.runtime("turns")
        consumer = runtime._intake._consumer()
        real, failures = consumer.getmany, 0

        async def getmany(*partitions: TopicPartition, **options: Any) -> Any:
            nonlocal failures
            fetched = await real(*partitions, **options)
            if fetched and failures < 5:
                failures += 1
                raise error
            return fetched

        monkeypatch.setattr(consumer, "getmany", getmany)
        messages: list[str] = []
        async with asyncio.timeout(120):
            while failures < 5:
                messages += await asyncio.gather(*(chat.say(f"t{n}") for n in range(10)))
        await chat.answered(messages)
        assert set(processor.seen.values()) == {1}
        await until(lambda: worker.runtime("turns").trouble() is None)


async def test_a_partition_that_the_consumer_gives_nothing_of_is_read_past_it(
    embedded: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka raises neither the errors that a broker answers a fetch with, nor the end of its fetching task."""
    async with Chat(embedded.bootstrap) as chat, running(embedded.bootstrap, Answering(), options=OPTIONS) as worker:
        fetcher = worker.runtime("turns")._intake._consumer()._fetcher
        await chat.answered([await chat.say("t1")])
        fetcher._fetch_task.cancel()
        await chat.answered([await chat.say(f"t{n}") for n in range(20)])


async def test_records_that_retention_took_before_they_were_read_are_told_of_and_the_rest_is_read(
    embedded: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with Chat(embedded.bootstrap) as chat:
        async with running(embedded.bootstrap, Answering(), options=OPTIONS):
            message, record = message_of(chat)
            await write(embedded.bootstrap, PLACE, batch_of(record))
            await chat.answered([message])
        for _ in range(5):
            await write(embedded.bootstrap, PLACE, batch_of(message_of(chat)[1]))
        await delete_records(embedded.bootstrap, PLACE, 4)
        left = [message_of(chat) for _ in range(3)]
        for _, record in left:
            await write(embedded.bootstrap, PLACE, batch_of(record))
        async with running(embedded.bootstrap, Answering(), options=OPTIONS) as worker:
            await chat.answered([m for m, _ in left])
            lost = worker.runtime("turns")._metrics.offsets_lost.labels("turns", PLACE.topic)._value.get()
        assert lost == 3
        assert f"{PLACE.topic}/{PLACE.partition} was deleted from offset 1 to 3" in caplog.text


async def delete_records(bootstrap: str, tp: TopicPartition, before: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.delete_records({tp: RecordsToDelete(before_offset=before)})
    await admin.close()


async def test_retention_that_passes_a_running_worker_is_told_of_and_reading_goes_on(
    embedded: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with Chat(embedded.bootstrap) as chat, running(embedded.bootstrap, Answering(), options=OPTIONS) as worker:
        message, record = message_of(chat)
        await write(embedded.bootstrap, PLACE, batch_of(record))
        await chat.answered([message])
        tracker = worker.runtime("turns")._slots[PLACE.partition].trackers[PLACE]
        assert tracker.read == 1
        intake = worker.runtime("turns")._intake
        intake._hold(PLACE)
        intake._unreadable.later([PLACE], 1e12, "held back by this test")
        for _ in range(3):
            await write(embedded.bootstrap, PLACE, batch_of(message_of(chat)[1]))
        await delete_records(embedded.bootstrap, PLACE, 4)
        message, record = message_of(chat)
        await write(embedded.bootstrap, PLACE, batch_of(record))
        intake._unreadable.release(PLACE)
        intake._consumer().resume(PLACE)
        await chat.answered([message])
        assert "was deleted from offset 1 to 3" in caplog.text


async def test_a_batch_given_up_for_a_fault_that_is_mended_is_replayed_as_its_records(embedded: EmbeddedBroker) -> None:
    clients = KafkaClients(embedded.bootstrap, QUICK)
    async with Chat(embedded.bootstrap) as chat, running(embedded.bootstrap, Answering(), options=OPTIONS):
        message, record = message_of(chat)
        data = placed(batch_of(record, compression="zstd"), 17)
        raw = RawRecord(*PLACE, 17, 0, None, data)
        await clients.start()
        await clients.send(dead_letter_outputs(raw, group="turns", reason="r", attempts=1, at=NOW, through=17))
        await clients.stop()
        (row,) = await list_dead_letters(embedded.bootstrap)
        assert (await find_dead_letter(embedded.bootstrap, row.number)).letter == row.letter
        assert await replay(embedded.bootstrap, [row]) == 1
        await chat.answered([message])
