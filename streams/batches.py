"""Record batches, format version 2: their headers, their check sums, and the control batches that end transactions."""

from __future__ import annotations

import struct
import time
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

HEADER = struct.Struct(">qiiBIhiqqqhii")
"""base offset, length, leader epoch, magic, crc, attributes, last offset delta, first and max timestamp, producer id and
epoch, base sequence, record count (Kafka protocol guide, record batch)"""
_CRC_FROM = 21
_BEFORE_LENGTH = 12
TRANSACTIONAL, CONTROL = 0x10, 0x20


class Batch(NamedTuple):
    """A batch's header. `size` counts all its bytes; `sequence` is -1 for a batch of no idempotent producer."""

    base: int
    size: int
    magic: int
    crc: int
    attributes: int
    last_delta: int
    max_timestamp: int
    producer_id: int
    epoch: int
    sequence: int
    records: int

    @property
    def last(self) -> int:
        """The offset of its last record."""
        return self.base + self.last_delta

    @property
    def is_control(self) -> bool:
        """Whether it ends a transaction rather than carrying records."""
        return bool(self.attributes & CONTROL)

    @property
    def is_transactional(self) -> bool:
        """Whether it belongs to a transaction."""
        return bool(self.attributes & TRANSACTIONAL)


def read_header(data: bytes | memoryview, at: int = 0) -> Batch | None:
    """The header of the batch at a position; None when fewer bytes are there than a header has."""
    if len(data) - at < HEADER.size:
        return None
    base, length, _, magic, crc, attributes, delta, _, newest, pid, epoch, sequence, count = HEADER.unpack_from(
        data, at
    )
    return Batch(base, length + _BEFORE_LENGTH, magic, crc, attributes, delta, newest, pid, epoch, sequence, count)


def is_intact(data: bytes) -> bool:
    """Whether a whole batch's check sum is right."""
    header = read_header(data)
    if header is None or header.magic != 2 or header.size != len(data):
        return False
    return bool(calc_crc32c(data[_CRC_FROM:]) == header.crc)


def placed(data: bytes, base: int) -> bytes:
    """The batch at its offset in the log: base offset and leader epoch are not part of the check sum."""
    return struct.pack(">q", base) + data[8:12] + b"\0\0\0\0" + data[16:]


def commits(control_batch: bytes | memoryview) -> bool:
    """Whether a control batch commits its transaction; it aborts it otherwise.

    The key of the one record, 66 bytes in, is version and type, both of 16 bits; type 1 commits.
    """
    return bytes(control_batch[68:70]) == b"\0\x01"


def control_batch(producer_id: int, epoch: int, *, commit: bool) -> bytes:
    """The marker that ends a transaction in a partition."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=1,
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=-1,
        batch_size=1 << 10,
    )
    builder.append(0, int(time.time() * 1000), struct.pack(">hh", 0, int(commit)), b"\0\0\0\0\0\0", [])
    data = bytearray(builder.build())
    attributes = struct.unpack_from(">h", data, _CRC_FROM)[0] | CONTROL
    struct.pack_into(">h", data, _CRC_FROM, attributes)
    struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[_CRC_FROM:])))
    return bytes(data)


def first_at_or_after(batch: bytes, timestamp: int) -> tuple[int, int] | None:
    """Timestamp and offset of the first record that is not older."""
    for record in MemoryRecords(batch).next_batch():
        if record.timestamp >= timestamp:
            return record.timestamp, record.offset
    return None
