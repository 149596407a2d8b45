"""Reading partitions batch by batch, past what cannot be read.

aiokafka's consumer gives up a whole poll for one batch that it cannot read, names neither partition nor offset for most
reasons, and does not report some errors of the broker at all. Here one request reads a stretch of a partition as its bytes:
what can be made into records comes as records, and what cannot comes as `Unreadable`, with its position, reason and bytes.

A legitimate gap between offsets is one of: a control batch, a batch of an aborted transaction, what compaction has taken out
(Kafka protocol guide, record batch; the rules are those of aiokafka's `PartitionRecords`). Everything else is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition, codec
from aiokafka.errors import (
    KafkaError,
    NoError,
    OffsetOutOfRangeError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

from schemas import RawRecord
from streams.batches import HEADER, Batch, commits, is_intact, read_header
from streams.kafka_servers import Kafka, new_client
from streams.unpacking import MAX_RECORDS, NoRoom, shared_room, unpacked

READ_UNCOMMITTED, READ_COMMITTED = 0, 1
STRETCH_BYTES = 1 << 20
"""As much as aiokafka's consumer asks for of a partition, so that both see the same batches."""
WAIT_MS = 200
_CODECS = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_CODEC = 0x07
_LOG_APPEND_TIME = 0x08


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Offsets from `first` up to before `end` of which no record could be made. `data` is their batch as it lies in the log."""

    first: int
    end: int
    reason: str
    data: bytes
    timestamp_ms: int = 0
    curable: bool = False
    """Another installation can read it: a library is missing here."""


@dataclass(slots=True)
class Stretch:
    """What lies in a partition from some offset on: its committed records, in order."""

    records: list[RawRecord] = field(default_factory=list)
    end: int = 0
    """Everything below was read, or does not exist. Reading resumes here."""
    unreadable: Unreadable | None = None
    """What begins at `end` and cannot be read."""
    problem: str = ""
    """Why the broker gave nothing."""
    out_of_range: bool = False
    """The offset is not in the log: it was deleted, or never written."""
    cut_short: bool = False
    """More was fetched, and is left for the next look: as much as may be unpacked at a time was unpacked."""


def read_batches(
    tp: TopicPartition,
    data: bytes,
    aborted: Iterable[tuple[int, int]] | None,
    start: int,
    stable: int | None = None,
) -> Stretch:
    """The records of fetched bytes from offset `start` on, up to the first batch that cannot be read whole.

    `aborted` are producer ids and first offsets of the aborted transactions in there, as the broker reports them; `stable` is
    the offset that committed records reach up to.
    """
    to_come = deque(sorted(aborted or (), key=lambda found: found[1]))
    gone: set[int] = set()
    stretch, at = Stretch(end=start), 0
    while (header := read_header(data, at)) is not None:
        if not HEADER.size <= header.size <= len(data) - at:
            if (
                at == 0
            ):  # a broker returns the first batch whole; if its length is wrong, the start of the next is unknown
                end = max(start, header.last) + 1
                stretch.unreadable = Unreadable(start, end, "its length is wrong", bytes(data))
            return stretch
        batch = bytes(data[at : at + header.size])
        at += header.size
        end = header.last + 1 if header.magic >= 2 else header.base + 1
        if end <= start:
            continue
        while to_come and to_come[0][1] <= header.base:
            gone.add(to_come.popleft()[0])
        first = max(header.base, stretch.end) if header.magic >= 2 else stretch.end
        if header.magic >= 2 and not is_intact(batch):
            stretch.end, end = first, _end_of_broken(data, at, first, end, stable)
            stretch.unreadable = Unreadable(first, end, "its check sum is wrong", batch, header.max_timestamp)
            return stretch
        if header.magic >= 2 and header.is_control:
            if not commits(batch):
                gone.discard(header.producer_id)
        elif not (header.magic >= 2 and header.is_transactional and header.producer_id in gone):
            records, failure = _records(tp, batch, header, start, end)
            stretch.records += records
            if isinstance(failure, NoRoom):
                stretch.cut_short = True
                return stretch
            if failure:
                first = max(first, records[-1].offset + 1) if records else first
                stretch.end = first
                stretch.unreadable = Unreadable(
                    first, end, str(failure), batch, header.max_timestamp, isinstance(failure, _Missing)
                )
                return stretch
        stretch.end = end
    return stretch


def _end_of_broken(data: bytes, at: int, first: int, end: int, stable: int | None) -> int:
    """Where a batch ends whose header may be wrong, too: the next batch is better evidence, and so is the log's end."""
    after = read_header(data, at)
    if after and after.base > first and at + after.size <= len(data) and is_intact(data[at : at + after.size]):
        return after.base
    return max(first + 1, min(end, stable) if stable is not None else end)


class _Missing(Exception):
    """A library that this installation lacks."""


def _records(
    tp: TopicPartition, batch: bytes, header: Batch, start: int, end: int
) -> tuple[list[RawRecord], Exception | None]:
    """The batch's records from `start` on, and what keeps the rest from being read."""
    found: list[RawRecord] = []
    try:
        for record in _read_whole(batch) if header.magic < 2 else _read_each(batch, header):
            offset, timestamp, key, value, headers = record
            previous = found[-1].offset if found else -1
            if not max(header.base if header.magic >= 2 else 0, previous + 1) <= offset < end:
                raise ValueError(f"a record in it says that its offset is {offset:,}")
            if offset >= start:
                found.append(RawRecord(tp.topic, tp.partition, offset, timestamp, key, value, headers))
    except (_Missing, NoRoom) as error:
        return found, error
    except Exception as error:
        done = found and found[-1].offset == end - 1
        return found, None if done else ValueError(f"{type(error).__name__}: {error}")
    return found, None


_Parts = tuple[int, int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


def _read_whole(batch: bytes) -> Iterable[_Parts]:
    """The records of a batch in one of the formats before version 2."""
    legacy: Any = MemoryRecords(batch).next_batch()
    if not legacy.validate_crc():
        raise ValueError("its check sum is wrong")
    return [(r.offset, r.timestamp or 0, r.key, r.value, ()) for r in legacy]


def _read_each(batch: bytes, header: Batch) -> Iterable[_Parts]:
    """The records of a batch of version 2 one by one, so that those before a broken one are known.

    The name of a header that is not UTF-8, which Kafka's own clients take and aiokafka's does not, has its odd bytes replaced.
    """
    if header.records > MAX_RECORDS:
        raise ValueError(f"it says that it has {header.records:,} records, and more than {MAX_RECORDS:,} are not read")
    data = bytearray(_decompressed(batch[HEADER.size :], header.attributes & _CODEC))
    first_timestamp, at = HEADER.unpack_from(batch)[7], 0
    for _ in range(header.records):
        length, at = decode_varint(data, at)
        stop = at + length
        if not at < stop <= len(data):
            raise ValueError("a record in it is longer than its batch")
        _, at = decode_varint(data, at)
        delta, at = decode_varint(data, at)
        offset, at = decode_varint(data, at)
        key, at = _bytes(data, at, stop)
        value, at = _bytes(data, at, stop)
        number, at = decode_varint(data, at)
        headers = []
        for _ in range(number):
            name, at = _bytes(data, at, stop)
            content, at = _bytes(data, at, stop)
            headers.append(((name or b"").decode("utf-8", "replace"), content))
        if at != stop or number < 0:
            raise ValueError("a record in it does not have the length that it says")
        timestamp = header.max_timestamp if header.attributes & _LOG_APPEND_TIME else first_timestamp + delta
        yield header.base + offset, timestamp, key, value, tuple(headers)


def _bytes(data: bytearray, at: int, stop: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(data, at)
    if length < 0:
        return None, at
    if at + length > stop:
        raise ValueError("a field in it is longer than its record")
    return bytes(data[at : at + length]), at + length


def _decompressed(data: bytes, kind: int) -> bytes:
    if kind == 0:
        return data
    name = _CODECS.get(kind)
    if name is None:
        raise ValueError(f"it is compressed in way {kind}, which Kafka does not know")
    if not getattr(codec, f"has_{name}")():
        raise _Missing(f"it is compressed with {name}, and the library for that is not installed: pip install cramjam")
    return unpacked(name, data)


def readable_again(data: bytes, topic: str, partition: int) -> list[RawRecord]:
    """The records of a batch that once could not be read. Raises `ValueError` when it still cannot be."""
    header = read_header(data)
    if header is None:
        raise ValueError("it is shorter than the header of a batch")
    stretch = read_batches(TopicPartition(topic, partition), data, (), header.base)
    if stretch.unreadable:
        raise ValueError(stretch.unreadable.reason)
    return stretch.records


async def look(
    bootstrap: Kafka, positions: Mapping[TopicPartition, int], *, committed: bool = True, timeout_ms: int = 5000
) -> dict[TopicPartition, Stretch]:
    """What lies at these offsets now. Raises `KafkaError` when Kafka does not answer."""
    async with _Reader(bootstrap, timeout_ms, READ_COMMITTED if committed else READ_UNCOMMITTED) as reader:
        return await reader.look(positions)


async def read_between(
    bootstrap: Kafka, ranges: Mapping[TopicPartition, tuple[int, int]], *, timeout_ms: int = 15_000
) -> AsyncGenerator[RawRecord | tuple[TopicPartition, Unreadable], None]:
    """Everything committed between two offsets of each partition, in order within each; what cannot be read, at its position.

    Raises `KafkaError` when Kafka does not answer, or has given nothing of a partition for ten requests, with its reason.
    """
    at = {tp: start for tp, (start, end) in ranges.items() if start < end}
    silent = 0
    async with _Reader(bootstrap, timeout_ms) as reader:
        while at:
            moved = False
            for tp, stretch in (await reader.look(at)).items():
                end = ranges[tp][1]
                for record in stretch.records:
                    if record.offset < end:
                        yield record
                found = stretch.unreadable
                if found and found.first < end:
                    yield tp, found
                here = found.end if found else stretch.end
                moved = moved or here > at[tp]
                problem = stretch.problem
                if here >= end:
                    del at[tp]
                else:
                    at[tp] = here
            silent = 0 if moved else silent + 1
            if silent >= 10:
                tp, offset = next(iter(at.items()))
                raise KafkaError(
                    f"{tp.topic}/{tp.partition} gives nothing at offset {offset}: {problem or 'no reason said'}"
                )


class _Reader:
    """A connection for as long as the block lasts."""

    def __init__(self, bootstrap: Kafka, timeout_ms: int, isolation: int = READ_COMMITTED) -> None:
        self._isolation = isolation
        self._client = new_client(bootstrap_servers=bootstrap, client_id="cauce-reader", request_timeout_ms=timeout_ms)

    async def __aenter__(self) -> _Reader:
        await self._client.bootstrap()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def look(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, Stretch]:
        await self._client.set_topics({tp.topic for tp in positions})
        by_node: dict[int, dict[TopicPartition, int]] = {}
        found = {tp: Stretch(end=offset) for tp, offset in positions.items()}
        for tp, offset in positions.items():
            node = self._client.cluster.leader_for_partition(tp)
            if node is None or node == -1:
                found[tp].problem = "the partition has no leader now"
                self._client.force_metadata_update()
            else:
                by_node.setdefault(node, {})[tp] = offset
        with shared_room():
            for node, wanted in by_node.items():
                found |= await self._fetch(node, wanted)
        return found

    async def _fetch(self, node: int, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, Stretch]:
        """What the node has of each, read in the order of `positions`: who comes first has room to unpack."""
        topics: dict[str, list[tuple[int, int, int]]] = {}
        for tp, offset in positions.items():
            topics.setdefault(tp.topic, []).append((tp.partition, offset, STRETCH_BYTES))
        request = FetchRequest(WAIT_MS, 1, 50 << 20, self._isolation, list(topics.items()), rack_id="")
        response = await self._client.send(node, request)
        answers = {
            TopicPartition(topic, number): (for_code(code), rest)
            for topic, partitions in response.topics
            for number, code, _, *rest in partitions
        }
        found: dict[TopicPartition, Stretch] = {}
        for tp, position in positions.items():
            if tp not in answers:
                continue
            error, rest = answers[tp]
            if error is NoError:
                aborted = rest[2] if response.API_VERSION >= 11 else rest[-2]
                found[tp] = read_batches(tp, bytes(rest[-1] or b""), aborted, position, rest[0])
                continue
            found[tp] = Stretch(end=position, problem=error.__name__)
            found[tp].out_of_range = error is OffsetOutOfRangeError
            if getattr(error, "invalid_metadata", False):
                self._client.force_metadata_update()
        return found
