"""Which records of a partition are finished: a watermark, and the set of records completed above it.

Lanes finish records out of order, so the committed offset alone would repeat finished work after a crash. The set of
completed offsets above the watermark travels with it, in the offset's metadata, in the same Kafka transaction as the
outputs. Pure code; nothing here knows Kafka.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable

MAX_METADATA_CHARS = 4096
"""Kafka's `offset.metadata.max.bytes`; a longer text is refused with OffsetMetadataTooLarge."""

MAX_SPAN = 24_000
"""Offsets between the watermark and the newest record taken in: one thread may keep the watermark for as long as a turn may take,
while others' records of its partition are processed. A bitset of so many bits has 3,000 bytes, which deflate makes at most 11
longer (RFC 1951, stored blocks) and base64 4,015 characters, so the metadata always fits."""

_VERSION = "c1"


def encode_completed(watermark: int, completed: Iterable[int]) -> str:
    """The completed offsets above `watermark` as text: empty when there are none, else `c1.<watermark>.<bitset>`.

    The bitset's bit i stands for offset watermark + i; it is deflated and in URL-safe base64. The watermark is repeated
    inside, so that a text that got beside another offset is not misread.
    """
    relative = [offset - watermark for offset in completed]
    if not relative:
        return ""
    raw = bytearray(max(relative) // 8 + 1)
    for bit in relative:
        raw[bit >> 3] |= 1 << (bit & 7)
    return f"{_VERSION}.{watermark}.{base64.urlsafe_b64encode(zlib.compress(raw, 6)).decode().rstrip('=')}"


def decode_completed(watermark: int, metadata: str | None) -> frozenset[int]:
    """The inverse. A text that is foreign, damaged or for another watermark is ignored: no offset is complete."""
    version, _, rest = (metadata or "").partition(".")
    base, _, text = rest.partition(".")
    if version != _VERSION or base != str(watermark):
        return frozenset()
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        inflater = zlib.decompressobj()
        bits = inflater.decompress(raw, MAX_SPAN)
    except (binascii.Error, zlib.error, ValueError):
        return frozenset()
    if not inflater.eof:
        return frozenset()
    return frozenset(
        watermark + 8 * place + bit for place, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1
    )


class OffsetTracker:
    """The records of one partition during one ownership.

    Every offset is unknown, open (taken in, not finished) or done. An offset that was not delivered stays unknown, and the
    watermark below it, until the reader says by `read_to` that there is nothing: Kafka never delivers control batches, records
    of aborted transactions and what compaction has removed.
    """

    def __init__(self, position: int, completed: Iterable[int] = ()) -> None:
        self._position = position
        """Everything below is done, or was never there."""
        self._read = position
        """Everything below was delivered, is done, or was never there; what is above and not known to be done may be there."""
        self._open: set[int] = set()
        self._done: set[int] = {o for o in completed if o >= position}
        self._next = max(self._done, default=position - 1) + 1

    @property
    def position(self) -> int:
        """The watermark: the lowest offset that is not known to be done."""
        return self._position

    @property
    def read(self) -> int:
        """Where reading resumes: nothing below is missing."""
        return self._read

    @property
    def span(self) -> int:
        """Offsets from the watermark to the newest one that was seen; intake keeps it below `MAX_SPAN`."""
        return max(0, self._next - self._position)

    @property
    def open(self) -> int:
        """How many records are taken in and not finished."""
        return len(self._open)

    def deliver(self, offset: int) -> bool:
        """Notes that a record was taken in. False when it is open or done already, and must not be processed."""
        if offset < self._position or offset in self._open:
            return False
        if offset == self._read:
            self._read = offset + 1
        if offset in self._done:
            return False
        self._open.add(offset)
        self._next = max(self._next, offset + 1)
        return True

    def read_to(self, position: int) -> None:
        """Notes that the partition was read in one go from `read` up to here: what was not delivered is not there."""
        self._read = max(self._read, position)
        if not self._open:
            self._advance()

    def finish(self, offset: int) -> None:
        """Notes that a record is done, its outputs on their way in the next transaction. It may be one that was not
        delivered yet: a previous owner had processed it."""
        if offset >= self._position:
            self._open.discard(offset)
            self._done.add(offset)
            self._next = max(self._next, offset + 1)

    def is_done(self, offset: int) -> bool:
        """Whether the record needs no more work."""
        return offset < self._position or offset in self._done

    def absorb(self, position: int, completed: Iterable[int]) -> None:
        """Adopts what the broker has committed: it may be ahead of us if another owner worked in the meantime."""
        done = {o for o in completed if o >= position}
        self._open = {o for o in self._open if o >= position and o not in done}
        self._done |= done
        self._position, self._read = max(self._position, position), max(self._read, position)
        self._next = max(self._next, position, max(done, default=-1) + 1)
        self._advance()

    def snapshot(self) -> tuple[int, str]:
        """Offset and metadata to commit now."""
        self._advance()
        return self._position, encode_completed(self._position, self._done)

    def _advance(self) -> None:
        self._position = max(self._position, min(self._read, min(self._open, default=self._read)))
        while self._position in self._done:
            self._position += 1
            self._read = max(self._read, self._position)
        self._done = {o for o in self._done if o >= self._position}
