"""What compressed batches may unpack to, for aiokafka's consumers and for our own reading.

A batch of a megabyte can hold gigabytes of one repeated byte, and aiokafka's codecs unpack whatever comes. Ours stop at a
bound, and importing this module replaces aiokafka's with them. Two bounds: of one batch, beyond which it counts as
one that cannot be read; and of what one poll or one look unpacks together, beyond which the rest has its turn later.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType

import aiokafka.record.default_records
import aiokafka.record.legacy_records
from aiokafka import codec

MAX_UNPACKED = 16 << 20
"""Bytes of one batch. As they come, the clients of Java, C, Go and Python bound what they put into a batch by 1 MB before
compression; a Java client that was given a `batch.size` of a megabyte reaches about this much with text."""
ROOM_BYTES = 2 * MAX_UNPACKED
"""Bytes of one poll or one look."""
MAX_RECORDS = 100_000
"""Records of one batch. 16 MiB of records with the headers of a CloudEvent are fewer."""
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16


class NoRoom(Exception):
    """The batch may be well, and this poll has unpacked so much already that it has to wait for the next one."""


@dataclass(slots=True)
class _Room:
    left: int


_room: ContextVar[_Room | None] = ContextVar("room", default=None)


@contextmanager
def shared_room() -> Iterator[None]:
    """While the block lasts, in its task, `ROOM_BYTES` are unpacked at most; then batches raise `NoRoom`."""
    before = _room.get()
    _room.set(_Room(ROOM_BYTES))
    try:
        yield
    finally:
        # Not by the token: a task that is collected instead of ended is closed in somebody else's context.
        _room.set(before)


def unpacked(name: str, data: bytes) -> bytes:
    """The bytes of a batch's records. Raises `ValueError` where they are too many or broken, `NoRoom` where they would be too
    many together with those before."""
    room = _room.get()
    limit = min(MAX_UNPACKED, room.left) if room else MAX_UNPACKED
    try:
        found = _DECODERS[name](data, limit)
    except _Beyond:
        if limit < MAX_UNPACKED:
            raise NoRoom("as much as may be unpacked at a time was unpacked; the rest has its turn later") from None
        raise ValueError(f"its {len(data):,} bytes of {name} unpack to more than {MAX_UNPACKED:,}") from None
    except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # cramjam's own panics are no `Exception`
        raise ValueError(f"its {name} data is broken: {error or type(error).__name__}") from error
    if room:
        room.left -= len(found)
    return found


class _Beyond(Exception):
    """There is more than the limit."""


def _gzip(data: bytes, limit: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        found = file.read(limit + 1)
    if len(found) > limit:
        raise _Beyond
    return found


def _snappy(data: bytes, limit: int) -> bytes:
    """Raw, or in the blocks of the Java library (`xerial`), whose lengths are big-endian and stand before them."""
    if not (len(data) >= _XERIAL_HEADER and data.startswith(_XERIAL)):
        return _snappy_block(data, limit)
    found, at = bytearray(), _XERIAL_HEADER
    while at < len(data):
        (size,) = struct.unpack_from("!I", data, at)
        found += _snappy_block(data[at + 4 : at + 4 + size], limit - len(found))
        at += 4 + size
    return bytes(found)


def _snappy_block(data: bytes, limit: int) -> bytes:
    if codec.cramjam.snappy.decompress_raw_len(data) > limit:
        raise _Beyond
    return bytes(codec.cramjam.snappy.decompress_raw(data))


def _into(name: str) -> Callable[[bytes, int], bytes]:
    """A decoder that fills buffers of growing size: its frames need not say how long they are."""

    def decode(data: bytes, limit: int) -> bytes:
        size = min(limit, max(1 << 14, 8 * len(data)))
        while True:
            buffer = bytearray(size)
            try:
                written = getattr(codec.cramjam, name).decompress_into(data, buffer)
            except codec.cramjam.DecompressionError as error:
                if "whole buffer" not in str(error):
                    raise
                if size == limit:
                    raise _Beyond from None
                size = min(limit, 4 * size)
            else:
                return bytes(memoryview(buffer)[:written])

    return decode


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "snappy": _snappy,
    "lz4": _into("lz4"),
    "zstd": _into("zstd"),
}


def _replace_decoders() -> None:
    """Makes aiokafka's readers of batches use the decoders of here: both formats, in Python and compiled."""
    modules: list[ModuleType] = [codec, aiokafka.record.default_records, aiokafka.record.legacy_records]
    try:
        from aiokafka.record._crecords import default_records, legacy_records
    except ImportError:  # an installation without the compiled part
        pass
    else:
        modules += [default_records, legacy_records]
    for name in _DECODERS:
        for module in modules:
            if hasattr(module, f"{name}_decode"):
                setattr(module, f"{name}_decode", lambda data, name=name: unpacked(name, bytes(data)))


_replace_decoders()
