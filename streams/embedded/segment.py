"""One file of a partition's log: batches one after the other, with a sparse index in memory."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator
from pathlib import Path

from streams.batches import HEADER, Batch, is_intact, read_header

INDEX_EVERY = 64 << 10
"""Bytes between two entries of the index."""
_CHUNK = 256 << 10
_MOST_RECORDS = 1 << 20
"""In a batch; a record takes more than a byte."""


class Segment:
    """The batches from `base` on. Reads go to the file, which the operating system keeps in memory."""

    def __init__(self, path: Path, base: int) -> None:
        self.path, self.base = path, base
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.size = 0
        self.max_timestamp = -1
        self.written_ms = -1
        """When the newest batch was taken, by this machine's clock."""
        self._offsets: list[int] = []
        self._positions: list[int] = []

    def recover(self, *, verify: bool) -> Iterator[tuple[Batch, bytes]]:
        """Reads the file from its start, yielding each batch's header and first bytes; cuts off a torn tail.

        With `verify` the check sums are read as well. A whole batch that is damaged stays for its readers to report: what was
        accepted after it is intact, and its offsets were assigned. Other fields of its header are not trusted.
        """
        stat = os.fstat(self._fd)
        end, position, expected = stat.st_size, 0, self.base
        self.written_ms = stat.st_mtime_ns // 1_000_000
        while position < end:
            head = os.pread(self._fd, HEADER.size + 16, position)
            header = read_header(head)
            if header is None or header.magic != 2 or header.size < HEADER.size or position + header.size > end:
                break
            if header.base < expected or not 0 <= header.last_delta < _MOST_RECORDS:
                break
            if verify and not header.is_control and not is_intact(os.pread(self._fd, header.size, position)):
                header = header._replace(attributes=0, producer_id=-1, max_timestamp=-1)
            self._note(header, position)
            position += header.size
            expected = header.last + 1
            yield header, head
        if position < end:
            os.ftruncate(self._fd, position)
        self.size = position

    def append(self, data: bytes, header: Batch, at_ms: int) -> None:
        """Adds a batch at a time (milliseconds). On an error of the disk the file is as before, and `OSError` is raised."""
        try:
            written = os.pwrite(self._fd, data, self.size)
            if written != len(data):
                raise OSError(28, "the disk took only a part of the batch")
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self._note(header, self.size)
        self.size += len(data)
        self.written_ms = at_ms

    def _note(self, header: Batch, position: int) -> None:
        if not self._positions or position - self._positions[-1] >= INDEX_EVERY:
            self._offsets.append(header.base)
            self._positions.append(position)
        self.max_timestamp = max(self.max_timestamp, header.max_timestamp)

    def read(self, offset: int, limit: int, max_bytes: int) -> bytes:
        """Whole batches from the one that holds `offset` on, below the offset `limit`: at least one, then up to `max_bytes`."""
        position = self._position_of(offset)
        start = end = None
        data = memoryview(os.pread(self._fd, max(max_bytes, _CHUNK) + INDEX_EVERY, position))
        at = 0
        while (header := read_header(data, at)) is not None and header.base < limit:
            if start is None and header.last >= offset:
                start = at
            if start is not None:
                if end is not None and at + header.size - start > max_bytes:
                    break
                end = at + header.size
                if end > len(data):
                    if at > start:
                        end = at
                        break
                    return os.pread(self._fd, header.size, position + at)
            at += header.size
        return bytes(data[start:end]) if start is not None and end is not None else b""

    def batches(self, from_offset: int) -> Iterator[tuple[Batch, bytes]]:
        """Whole batches, each with its header, from the one that holds the offset on."""
        position = self._position_of(from_offset)
        while position < self.size:
            header = read_header(os.pread(self._fd, HEADER.size, position))
            if header is None:
                return
            if header.last >= from_offset:
                yield header, os.pread(self._fd, header.size, position)
            position += header.size

    def _position_of(self, offset: int) -> int:
        index = bisect.bisect_right(self._offsets, offset) - 1
        return self._positions[index] if index >= 0 else 0

    def sync(self) -> None:
        """Makes what was written survive a loss of power."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)

    def delete(self) -> None:
        """Closes and removes the file."""
        self.close()
        self.path.unlink(missing_ok=True)
