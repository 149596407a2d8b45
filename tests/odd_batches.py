"""Record batches that a well-behaved client never writes, and some that it does: compressed, broken, damaged on the disk."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition, codec
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from streams.batches import HEADER, read_header
from streams.kafka_servers import Kafka, new_client

CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
Parts = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]
"""Key, value and headers."""
_CRC, _CRC_FROM = 17, 21


def batch_of(*records: Parts, compression: str = "", room: int = 1 << 20) -> bytes:
    """A batch of these records, of `room` bytes before compression at most; compressed however small it is."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, room)
    for number, (key, value, headers) in enumerate(records):
        assert builder.append(number, int(time.time() * 1000), key, value, list(headers))
    whole = bytes(builder.build())
    if not compression:
        return whole
    return with_body(whole, getattr(codec, f"{compression}_encode")(whole[HEADER.size :]), CODECS[compression])


def with_body(batch: bytes, body: bytes, compression: int = 0) -> bytes:
    """The batch with other bytes for its records, which are said to be compressed in this way; its check sum is right."""
    data = bytearray(batch[: HEADER.size] + body)
    struct.pack_into(">i", data, 8, len(data) - 12)
    struct.pack_into(">h", data, _CRC_FROM, compression)
    return sealed(data)


def sealed(data: bytes | bytearray) -> bytes:
    """With the right check sum."""
    fresh = bytearray(data)
    struct.pack_into(">I", fresh, _CRC, calc_crc32c(bytes(fresh[_CRC_FROM:])))
    return bytes(fresh)


async def write(bootstrap: Kafka, tp: TopicPartition, data: bytes) -> tuple[str, int]:
    """Produces bytes as they are: the name of the error, and the offset."""
    client = new_client(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        await client.set_topics({tp.topic})
        node = client.cluster.leader_for_partition(tp)
        request: Any = ProduceRequest(
            transactional_id=None, required_acks=-1, timeout=5000, topics=[(tp.topic, [(tp.partition, data)])]
        )
        answer = await client.send(node, request)
        code, offset = answer.topics[0][1][0][1:3]
        return for_code(code).__name__, offset
    finally:
        await client.close()


def damage(folder: Path, tp: TopicPartition, offset: int) -> None:
    """Changes one byte of the batch at an offset in the embedded broker's files, as a bad disk does."""
    for path in folder.rglob("*.log"):
        if path.parts[-3:-1] != (tp.topic, str(tp.partition)):
            continue
        data, at = path.read_bytes(), 0
        while (header := read_header(data, at)) is not None:
            if header.base <= offset <= header.last:
                with path.open("r+b") as file:
                    file.seek(at + header.size - 3)
                    file.write(bytes([data[at + header.size - 3] ^ 0xFF]))
                return
            at += header.size
    raise AssertionError(f"{tp} has no batch with offset {offset} in {folder}")
