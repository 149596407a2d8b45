"""The embedded broker and the death of its process, its disk, its neighbours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import RawRecord
from streams.embedded import EmbeddedBroker
from streams.kafka_clients import close_consumer, close_producer
from streams.raw_reading import read_between

TP = TopicPartition("t", 0)
HANGS = 120.0
"""Seconds after which something counts as hanging."""


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(tmp_path / "kafka") as running:
        await create_topic(running.bootstrap)
        yield running


async def create_topic(bootstrap: str, **configs: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("t", 2, 1, topic_configs=configs)])
    await admin.close()


async def read(bootstrap: str, isolation: str = "read_committed") -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=isolation, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TP])
        end = (await consumer.end_offsets([TP]))[TP]
        await consumer.seek_to_beginning(TP)
        values: list[bytes] = []
        async with asyncio.timeout(HANGS):
            while await consumer.position(TP) < end:
                fetched = await consumer.getmany(TP, timeout_ms=300)
                values += [r.value for r in fetched.get(TP, ())]
        return values
    finally:
        await close_consumer(consumer)


async def transactional(bootstrap: str, name: str = "id", **options: int) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=name, **options)
    await producer.start()
    return producer


async def test_nothing_that_was_acknowledged_is_lost_by_kill_9(broker: EmbeddedBroker) -> None:
    producer = await transactional(broker.bootstrap)
    for n in range(20):
        async with producer.transaction():
            await producer.send_and_wait("t", b"%d" % n, partition=0)
            await producer.send_offsets_to_transaction({TP: OffsetAndMetadata(n + 1, f"meta-{n}")}, "g")
    await close_producer(producer)
    await broker.kill()
    await broker.start()
    assert await read(broker.bootstrap) == [b"%d" % n for n in range(20)]
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    assert (await admin.list_consumer_group_offsets("g"))[TP] == OffsetAndMetadata(20, "meta-19")
    await admin.close()


async def test_a_transaction_that_was_open_at_a_crash_is_aborted_and_its_producer_fenced(
    broker: EmbeddedBroker,
) -> None:
    producer = await transactional(broker.bootstrap)
    await producer.begin_transaction()
    await producer.send_and_wait("t", b"unfinished", partition=0)
    await broker.kill()
    await broker.start()
    with pytest.raises((ProducerFenced, KafkaError)):
        await producer.commit_transaction()
    await close_producer(producer)
    heir = await transactional(broker.bootstrap)
    async with heir.transaction():
        await heir.send_and_wait("t", b"after", partition=0)
    await close_producer(heir)
    assert await read(broker.bootstrap) == [b"after"]
    assert await read(broker.bootstrap, "read_uncommitted") == [b"unfinished", b"after"]


async def test_a_fenced_producer_stays_fenced_after_a_restart(broker: EmbeddedBroker) -> None:
    old = await transactional(broker.bootstrap)
    new = await transactional(broker.bootstrap)
    await broker.kill()
    await broker.start()
    with pytest.raises(KafkaError):
        async with old.transaction():
            await old.send_and_wait("t", b"zombie", partition=0)
    async with new.transaction():
        await new.send_and_wait("t", b"owner", partition=0)
    await close_producer(old)
    await close_producer(new)
    assert await read(broker.bootstrap) == [b"owner"]


async def test_a_torn_tail_is_cut_off_and_the_log_goes_on(broker: EmbeddedBroker, tmp_path: Path) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
    await producer.start()
    for n in range(5):
        await producer.send_and_wait("t", b"%d" % n, partition=0)
    await broker.kill()
    (segment,) = (tmp_path / "kafka" / "topics" / "t" / "0").glob("*.log")
    segment.write_bytes(segment.read_bytes()[:-7])
    await broker.start()
    await producer.send_and_wait("t", b"new", partition=0)
    await close_producer(producer)
    assert await read(broker.bootstrap) == [b"0", b"1", b"2", b"3", b"new"]


async def test_a_flipped_byte_costs_its_record_and_none_that_was_taken_after_it(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
    await producer.start()
    for n in range(5):
        await producer.send_and_wait("t", b"value-%d" % n, partition=0)
    await close_producer(producer)
    await broker.kill()
    (segment,) = (tmp_path / "kafka" / "topics" / "t" / "0").glob("*.log")
    data = bytearray(segment.read_bytes())
    data[data.index(b"value-3")] ^= 0xFF
    segment.write_bytes(data)
    await broker.start()
    found = [found async for found in read_between(broker.bootstrap, {TP: (0, 5)})]
    assert [f.value for f in found if isinstance(f, RawRecord)] == [b"value-0", b"value-1", b"value-2", b"value-4"]
    (damaged,) = [f[1] for f in found if not isinstance(f, RawRecord)]
    assert (damaged.first, damaged.end, damaged.reason) == (3, 4, "its check sum is wrong")


async def test_a_torn_journal_keeps_everything_before_the_tear(broker: EmbeddedBroker, tmp_path: Path) -> None:
    await broker.kill()
    with (tmp_path / "kafka" / "journal").open("ab") as journal:
        journal.write(b'deadbeef {"k":"drop","t":"t"}\n0000')
    await broker.start()
    assert await read(broker.bootstrap) == []


async def test_a_full_disk_refuses_the_record_and_keeps_the_broker(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: a write beyond it fails as on a full one."""
    limited = EmbeddedBroker(tmp_path / "kafka")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        await limited.start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await create_topic(limited.bootstrap)
    producer = AIOKafkaProducer(bootstrap_servers=limited.bootstrap, request_timeout_ms=1500)
    await producer.start()
    taken = 0

    async def fill() -> None:
        nonlocal taken
        for _ in range(20):
            await producer.send_and_wait("t", os.urandom(20_000), partition=0)
            taken += 1

    with pytest.raises(KafkaError):
        await fill()
    await close_producer(producer)
    assert taken >= 5
    assert len(await read(limited.bootstrap)) == taken
    await limited.stop()


def test_two_brokers_do_not_share_a_folder(broker: EmbeddedBroker, tmp_path: Path) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "streams.embedded", "--data", str(tmp_path / "kafka")],
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert second.returncode == 1
    assert "another broker uses the folder" in second.stderr


def test_a_port_that_is_taken_is_said_in_words(broker: EmbeddedBroker, tmp_path: Path) -> None:
    port = broker.bootstrap.rpartition(":")[2]
    second = subprocess.run(
        [sys.executable, "-m", "streams.embedded", "--data", str(tmp_path / "other"), "--port", port],
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert second.returncode == 1
    assert f"cannot listen on port {port}" in second.stderr


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    folder = tmp_path_factory.mktemp("fuzzed")
    child = subprocess.Popen(
        [sys.executable, "-m", "streams.embedded", "--data", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout
    host, _, port = child.stdout.readline().decode().strip().rpartition(":")
    yield host, int(port)  # type: ignore[misc]
    child.terminate()
    child.wait(HANGS)
    child.stdout.close()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(api=st.integers(-3, 60), version=st.integers(-2, 14), body=st.binary(max_size=200), cut=st.booleans())
def test_garbage_closes_its_own_connection_only(
    listening: tuple[str, int], api: int, version: int, body: bytes, cut: bool
) -> None:
    frame = struct.pack(">hhih", api, version, 7, -1) + body
    # The broker may hang up as soon as it sees what it is.
    with socket.create_connection(listening, timeout=HANGS) as garbage, contextlib.suppress(OSError):
        garbage.sendall(struct.pack(">i", len(frame) + (100 if cut else 0)) + frame)
        garbage.shutdown(socket.SHUT_WR)
    with socket.create_connection(listening, timeout=HANGS) as sound:
        request = struct.pack(">hhih", 18, 0, 42, -1)
        sound.sendall(struct.pack(">i", len(request)) + request)
        with sound.makefile("rb") as answer:  # a socket with a time-out gives what is there, whatever MSG_WAITALL says
            assert struct.unpack(">ii", answer.read(8))[1] == 42


def test_a_frame_beyond_the_limit_closes_the_connection(listening: tuple[str, int]) -> None:
    with socket.create_connection(listening, timeout=HANGS) as greedy:
        greedy.sendall(struct.pack(">i", 1 << 30))
        assert greedy.recv(1) == b""


async def test_five_hundred_connections_are_served(broker: EmbeddedBroker) -> None:
    host, _, port = broker.bootstrap.rpartition(":")
    connections = await asyncio.gather(*(asyncio.open_connection(host, int(port)) for _ in range(500)))
    request = struct.pack(">hhih", 18, 0, 1, -1)
    for _, writer in connections:
        writer.write(struct.pack(">i", len(request)) + request)
    for reader, writer in connections:
        assert struct.unpack(">ii", await reader.readexactly(8))[1] == 1
        writer.close()


async def test_memory_does_not_grow_with_the_log(broker: EmbeddedBroker) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, linger_ms=5, max_batch_size=500_000)
    await producer.start()
    before = rss(broker.pid)
    body = os.urandom(50_000)
    for _ in range(40):
        await asyncio.gather(*[await producer.send("t", body, partition=0) for _ in range(50)])
    await close_producer(producer)
    assert rss(broker.pid) - before < 60 << 20, "100 MB went through"


def rss(pid: int) -> int:
    """Resident bytes of a process (Linux, proc(5))."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * resource.getpagesize()
