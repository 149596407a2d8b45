"""Kafka's protocol without a client: one connection, requests of a chosen version, record batches made by hand.

For what a well-behaved client never sends, and for timing that a client hides. Requests and responses are aiokafka's own
structures; the modules `kafka_wire`, `wire_group` and `wire_producer` are the only ones of the tests that import
`aiokafka.protocol`, which is not public.
"""

from __future__ import annotations

import asyncio
import io
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from aiokafka.errors import for_code
from aiokafka.protocol.fetch import FetchRequest_v11
from aiokafka.protocol.offset import OffsetRequest_v3
from aiokafka.protocol.produce import ProduceRequest_v7
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

ANSWER_SECONDS = 120.0
"""After which a test counts as hung."""
READ_UNCOMMITTED, READ_COMMITTED = 0, 1
_NO_FETCH_SESSION = (0, -1)  # id and epoch
_NOT_LEADER = 6


@dataclass(frozen=True)
class Fetched:
    """A partition's part of a fetch. `aborted` holds producer id and first offset of transactions to be skipped."""

    error: str
    high_watermark: int
    last_stable: int
    start: int
    aborted: list[tuple[int, int]]
    data: bytes

    @property
    def offsets(self) -> list[int]:
        """Offsets of all records in the data, those of control batches too."""
        return [record.offset for record in _records(self.data)]

    @property
    def values(self) -> list[bytes | None]:
        """Values of all records in the data, those of control batches too."""
        return [record.value for record in _records(self.data)]


class Wire:
    """A connection that asks one thing at a time; closed when its context ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._correlation = 0

    @classmethod
    async def connect(cls, address: str) -> Self:
        """Connects to `host:port`. Raises `OSError` when nothing listens there."""
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port), limit=64 << 20))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection, whoever closed it first."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return

    async def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def receive_frame(self) -> bytes:
        """The next frame without its length. Raises `IncompleteReadError` when the broker closes the connection."""
        async with asyncio.timeout(ANSWER_SECONDS):
            (length,) = struct.unpack(">i", await self._reader.readexactly(4))
            return await self._reader.readexactly(length)

    async def closed_by_broker(self) -> bool:
        """Waits until the broker closes the connection; what it still sends is thrown away."""
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                while await self._reader.read(1 << 16):
                    pass
            except ConnectionError:
                pass  # a connection that is closed with unread bytes is reset
        return True

    def frame(self, request: Any) -> bytes:
        """A request as it goes over the wire, with the next correlation id."""
        self._correlation += 1
        header = request.build_request_header(correlation_id=self._correlation, client_id="conformance")
        message: bytes = header.encode() + request.encode()
        return struct.pack(">i", len(message)) + message

    async def ask(self, request: Any) -> Any:
        """Sends a request structure and returns the response structure that belongs to it."""
        await self.send(self.frame(request))
        return await self.answer_to(request, self._correlation)

    async def answer_to(self, request: Any, correlation: int) -> Any:
        """The next response, which must carry this correlation id."""
        frame = await self.receive_frame()
        assert struct.unpack_from(">i", frame) == (correlation,)
        return request.RESPONSE_TYPE.decode(io.BytesIO(frame[4:]))

    async def _ask_leader(self, request: Any) -> Any:
        """Asks about partitions until they have a leader: Apache Kafka elects one anew after a restart."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                answer = await self.ask(request)
                if all(row[1] != _NOT_LEADER for _, rows in answer.topics for row in rows):
                    return answer
                await asyncio.sleep(0.02)

    async def produce(
        self, topic: str, data: bytes, *, partition: int = 0, transactional_id: str | None = None
    ) -> tuple[str, int]:
        """Produces one batch with acks=all; the error's name and the base offset."""
        request = produce_request(topic, data, partition=partition, transactional_id=transactional_id)
        answer = await self._ask_leader(request)
        _, error, offset, *_ = answer.topics[0][1][0]
        return error_name(error), offset

    async def fetch(
        self,
        topic: str,
        offsets: dict[int, int] | None = None,
        *,
        max_wait_ms: int = 0,
        min_bytes: int = 1,
        max_bytes: int = 50 << 20,
        partition_max_bytes: int = 50 << 20,
        isolation_level: int = READ_UNCOMMITTED,
    ) -> dict[int, Fetched]:
        """Fetches from offsets of partitions, by default from the beginning of partition 0."""
        rows = [(number, -1, offset, -1, partition_max_bytes) for number, offset in (offsets or {0: 0}).items()]
        limits = (-1, max_wait_ms, min_bytes, max_bytes, isolation_level)
        answer = await self._ask_leader(FetchRequest_v11(*limits, *_NO_FETCH_SESSION, [(topic, rows)], [], ""))
        return {number: _fetched(*rest) for _, partitions in answer.topics for number, *rest in partitions}

    async def end_offset(self, topic: str, partition: int = 0, *, isolation_level: int = READ_UNCOMMITTED) -> int:
        """Where a partition ends for a reader of this isolation level."""
        answer = await self._ask_leader(OffsetRequest_v3(-1, isolation_level, [(topic, [(partition, -1)])]))
        _, error, _, offset = answer.topics[0][1][0]
        assert error == 0, error_name(error)
        end: int = offset
        return end

    async def settled(self, topic: str, partition: int = 0) -> int:
        """Waits until no transaction is open in a partition; its end."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while await self.end_offset(topic, partition, isolation_level=READ_COMMITTED) != (
                end := await self.end_offset(topic, partition)
            ):
                await asyncio.sleep(0.02)
            return end


def produce_request(
    topic: str, data: bytes, *, partition: int = 0, acks: int = -1, transactional_id: str | None = None
) -> Any:
    """A Produce request with one partition's data."""
    return ProduceRequest_v7(transactional_id, acks, 10_000, [(topic, [(partition, data)])])


def batch(
    *values: bytes, producer: tuple[int, int] = (-1, -1), sequence: int = -1, transactional: bool = False
) -> bytes:
    """A record batch of format version 2. `producer` is an id with its epoch, `sequence` that of the first record."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=int(transactional),
        producer_id=producer[0],
        producer_epoch=producer[1],
        base_sequence=sequence,
        batch_size=32 << 20,
    )
    now = int(time.time() * 1000)
    for position, value in enumerate(values):
        builder.append(position, now, None, value, [])
    return bytes(builder.build())


def error_name(code: int) -> str:
    """What aiokafka calls an error code of the protocol."""
    name: str = for_code(code).__name__
    return name


def _fetched(
    error: int, high: int, stable: int, start: int, aborted: list[Any] | None, _replica: int, data: bytes | None
) -> Fetched:
    return Fetched(error_name(error), high, stable, start, [tuple(a) for a in aborted or []], bytes(data or b""))


def _records(data: bytes) -> Iterator[Any]:
    batches = MemoryRecords(data)
    while batches.has_next():
        yield from batches.next_batch()
