"""What compressed batches unpack to is bounded: what is beyond costs itself, and what is much has its turn later."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cramjam
import pytest
from aiokafka import TopicPartition, codec
from aiokafka.record.memory_records import MemoryRecords
from odd_batches import CODECS, batch_of, with_body, write
from runtime_kit import QUICK, Answering, Chat, running
from test_unreadable_records import PLACE, message_of

from schemas import RawRecord
from streams.batches import HEADER, placed
from streams.dead_letters import list_dead_letters
from streams.embedded import EmbeddedBroker
from streams.raw_reading import Stretch, _Reader, read_batches, readable_again
from streams.unpacking import MAX_RECORDS, MAX_UNPACKED, ROOM_BYTES, NoRoom, shared_room, unpacked
from streams.unreadable import Next, UnreadablePartitions

TP = TopicPartition("t", 0)
ONE = batch_of((b"k", b"v", ()))


def bomb(name: str, pieces: int = 1) -> bytes:
    """A batch whose records unpack to 64 MiB for each piece; all codecs but snappy allow pieces one behind the other."""
    zeros = b"\0" * (64 << 20)
    if name == "gzip":
        return with_body(ONE, gzip.compress(zeros) * pieces, CODECS[name])
    if name == "snappy":
        return with_body(ONE, codec.snappy_encode(zeros), CODECS[name])
    return with_body(ONE, bytes(getattr(cramjam, name).compress(zeros)) * pieces, CODECS[name])


@pytest.mark.parametrize("name", list(CODECS))
def test_a_batch_that_unpacks_to_too_much_is_unreadable_and_nothing_else_is(name: str) -> None:
    stretch = read_batches(TP, placed(ONE, 0) + placed(bomb(name), 1) + placed(ONE, 2), (), 0)
    assert [r.offset for r in stretch.records] == [0]
    assert stretch.unreadable
    assert f"of {name} unpack to more than 16,777,216" in stretch.unreadable.reason
    assert (stretch.unreadable.first, stretch.unreadable.end, stretch.unreadable.curable) == (1, 2, False)
    with pytest.raises(ValueError, match="unpack to more"):
        list(MemoryRecords(bomb(name)).next_batch())  # aiokafka's own reader
    with pytest.raises(ValueError, match="unpack to more"):
        readable_again(placed(bomb(name), 1), "t", 0)


def test_a_raw_snappy_block_that_claims_four_gigabytes_costs_none() -> None:
    with pytest.raises(ValueError, match="unpack to more"):
        unpacked("snappy", b"\xff\xff\xff\xff\x0f")


@pytest.mark.parametrize("name", list(CODECS))
@pytest.mark.parametrize("size", [0, 1, 1 << 14, MAX_UNPACKED])
def test_what_is_within_the_bound_is_read_whole(name: str, size: int) -> None:
    data = b"\0" * size
    assert unpacked(name, getattr(codec, f"{name}_encode")(data)) == data


@pytest.mark.parametrize("name", list(CODECS))
def test_one_byte_beyond_the_bound_is_too_much(name: str) -> None:
    with pytest.raises(ValueError, match="unpack to more"):
        unpacked(name, getattr(codec, f"{name}_encode")(b"\0" * (MAX_UNPACKED + 1)))


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_gigabyte_in_a_small_batch_takes_no_memory_to_find_out(tmp_path: Path, name: str) -> None:
    """In a process of its own, whose largest resident size Linux tells in KiB."""
    batch = bomb(name, 16)
    assert len(batch) < 1 << 21
    (tmp_path / "batch").write_bytes(placed(batch, 0))
    code = (
        "import pathlib, resource\n"
        "from aiokafka import TopicPartition\n"
        "from aiokafka.record.memory_records import MemoryRecords\n"
        "from streams.raw_reading import read_batches\n"
        f"data = pathlib.Path({str(tmp_path / 'batch')!r}).read_bytes()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert read_batches(TopicPartition('t', 0), data, (), 0).unreadable\n"
        "try:\n    list(MemoryRecords(data).next_batch())\n    raise SystemExit('it was read')\nexcept ValueError:\n    pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100 * 1024


def test_what_many_batches_unpack_to_together_is_bounded_and_read_in_turns() -> None:
    count, each = 12, MAX_UNPACKED // 2
    batch = batch_of((b"k", b"\0" * 900_000, ()), compression="zstd")
    large = with_body(ONE, _zstd(_records(each)), CODECS["zstd"])
    data = b"".join(placed(large, n) for n in range(count)) + placed(batch, count)
    found, at, turns = [], 0, 0
    while at <= count:
        with shared_room():
            stretch = read_batches(TP, data, (), at)
        assert stretch.unreadable is None
        assert sum(len(r.value or b"") for r in stretch.records) <= ROOM_BYTES
        assert stretch.end > at
        found += [r.offset for r in stretch.records]
        at, turns = stretch.end, turns + 1
    assert found == list(range(count + 1))
    assert turns == count * each // ROOM_BYTES + 1


def test_a_poll_that_has_no_room_left_says_so_and_calls_nothing_broken() -> None:
    half = codec.zstd_encode(b"\0" * (ROOM_BYTES // 3))
    with shared_room():
        for _ in range(3):
            unpacked("zstd", half)
        with pytest.raises(NoRoom):
            unpacked("zstd", half)
    assert len(unpacked("zstd", half)) == ROOM_BYTES // 3


def test_a_batch_of_too_many_records_is_refused_by_their_number() -> None:
    many = bytearray(ONE)
    many[57:61] = (MAX_RECORDS + 1).to_bytes(4, "big")
    stretch = read_batches(TP, placed(with_body(bytes(many), ONE[HEADER.size :]), 0), (), 0)
    assert stretch.unreadable
    assert "it says that it has 100,001 records" in stretch.unreadable.reason


def test_a_partition_that_was_cut_short_goes_behind_those_that_wait() -> None:
    places = UnreadablePartitions("g", looks=2, backoff=0.1, max_backoff=1)
    large, waiting = TP, TopicPartition("t", 1)
    for tp in (large, waiting):
        places.hold(tp)
    assert places.saw(large, Stretch([RawRecord("t", 0, 4, 0, None, b"")], end=5, cut_short=True), 0) is Next.WAIT
    assert places.saw(waiting, Stretch(end=0, cut_short=True), 0) is Next.WAIT
    assert places.due(0) == [waiting, large], "at once, and the other one first"
    assert places.trouble() is None
    assert places.saw(waiting, Stretch(end=3), 0) is Next.POLL


async def test_what_one_look_unpacks_is_shared_and_those_who_come_first_have_it(embedded: EmbeddedBroker) -> None:
    tps = [TopicPartition(PLACE.topic, n) for n in range(4)]
    large = with_body(ONE, _zstd(_records(ROOM_BYTES // 2 - 100)), CODECS["zstd"])
    async with Chat(embedded.bootstrap):
        for tp in tps:
            assert (await write(embedded.bootstrap, tp, large))[0] == "NoError"
        async with _Reader(embedded.bootstrap, 5000) as reader:
            for first in range(4):
                order = tps[first:] + tps[:first]
                found = await reader.look(dict.fromkeys(order, 0))
                assert [len(found[tp].records) for tp in order] == [1, 1, 0, 0]
                assert [found[tp].cut_short for tp in order] == [False, False, True, True]


async def test_bombs_become_dead_letters_and_large_batches_in_plenty_are_all_answered(kafka: str) -> None:
    """In the partition itself and beside it; a worker that holds as little as it can meanwhile."""
    options = replace(QUICK, looks=2, stall_seconds=0.5, max_queued=3)
    # Apache Kafka looks whether there are records in a batch, so there is one.
    bomb = with_body(ONE, _zstd(_records(64 << 20)), CODECS["zstd"])
    async with Chat(kafka) as chat, running(kafka, Answering(), options=options):
        messages = []
        for n in range(8):
            message, record = message_of(chat, f"t{n}")
            filled = with_body(
                batch_of(record, record),
                _zstd(batch_of(record)[HEADER.size :] + _records(MAX_UNPACKED // 2, 1)),
                CODECS["zstd"],
            )
            for tp in (PLACE, TopicPartition(PLACE.topic, n % 3)):
                assert (await write(kafka, tp, bomb))[0] == "NoError"
            assert (await write(kafka, PLACE, filled))[0] == "NoError"
            messages.append(message)
        await chat.answered(messages)

        async with asyncio.timeout(120):
            while (
                len(
                    {
                        (r.letter.partition, r.letter.offset)
                        for r in await list_dead_letters(kafka, limit=100)
                        if r.letter.through is not None
                    }
                )
                < 16
            ):
                await asyncio.sleep(0.1)


def _zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data))


def _records(size: int, number: int = 0) -> bytes:
    """A record without a key and with so many zeros, as it lies in a batch; `number` is its place there."""
    body = b"\0" + b"".join(map(_varint, (0, number, -1, size))) + b"\0" * size + _varint(0)
    return _varint(len(body)) + body


def _varint(number: int) -> bytes:
    left, found = (number << 1) ^ (number >> 31), bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes(found) + bytes([left])
