"""The rows of a graph's state, and their encoding as bytes.

    value row        a channel's value, or one message of a list of them, or a page of ranges: written once, named by number
    checkpoint row   a checkpoint without its values: for each channel, where the value is (`Place`)
    writes row       the writes of a task between two checkpoints; also of the kind `checkpoint`

Nothing outside this package reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

from connectors.graphs.serde import StorableSerializer
from schemas import CauceError, StateRow, UnreadableRow
from state import Journal, Page

LARGEST_ROW = 800_000
"""Maximum bytes of one row: by default Cassandra rejects rows of 1 MB and more, and a batch has several."""
INLINE = 64
"""Maximum bytes of a value that is stored in the checkpoint row itself, since a separate row would cost more."""
RANGES_A_PAGE = 64

Range: TypeAlias = tuple[int, int]
"""First and last number of consecutive rows."""


class RowTooLarge(CauceError, ValueError):
    """A value that is too large for a row; the message names its channel."""


class BrokenState(UnreadableRow):
    """A row that a checkpoint refers to is missing or invalid."""


class RowReader(Protocol):
    """The rows of one thread."""

    async def checkpoints(self, *, before: int | None = None, limit: int = 50) -> Page[StateRow]:
        """A page of at most `limit` rows of the kind `checkpoint` with numbers below `before`, newest first."""
        ...

    async def values(self, ranges: Sequence[Range]) -> list[StateRow]:
        """The rows of the kind `value` with numbers in these ranges, both ends included."""
        ...


class _JournalRows:
    def __init__(self, journal: Journal, tenant_id: str, thread_id: str, max_bytes: int | None) -> None:
        self.of = f" of the thread {thread_id} of {tenant_id}"
        self.checkpoints = partial(journal.checkpoints, tenant_id, thread_id)
        self._values = partial(journal.values, tenant_id, thread_id)
        self._left = max_bytes

    async def values(self, ranges: Sequence[Range]) -> list[StateRow]:
        found = await self._values(ranges, max_bytes=self._left)
        if self._left is not None:
            self._left -= sum(len(row.body) for row in found)
        return found


def rows_of(journal: Journal, tenant_id: str, thread_id: str, *, max_bytes: int | None = None) -> RowReader:
    """Reads the rows of a thread from the journal, values of at most `max_bytes` altogether. Raises `TooLarge`."""
    return _JournalRows(journal, tenant_id, thread_id, max_bytes)


@dataclass(frozen=True, slots=True)
class MessagePlace:
    """The location of a list of messages: ranges of rows, one row per message. Many ranges are stored in pages, which are rows,
    too.

    There are several ranges because the rows of a turn's checkpoints and other values lie between its messages. Pages keep the
    size of a checkpoint from growing with the conversation: full pages do not change while messages are only appended.
    """

    pages: tuple[int, ...]
    tail: tuple[Range, ...]


Place: TypeAlias = int | bytes | MessagePlace
"""The location of a value: the number of its row, the value itself if it is small, or the rows of its messages."""


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A checkpoint without its values."""

    namespace: str
    checkpoint_id: str
    parent_id: str | None
    metadata: Mapping[str, Any]
    skeleton: Mapping[str, Any]
    """The checkpoint without `channel_values`."""
    places: Mapping[str, Place]

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and id of the checkpoint."""
        return self.namespace, self.checkpoint_id


@dataclass(frozen=True, slots=True)
class WritesRow:
    """The writes of a task, each with its index, its channel and the location of its value."""

    namespace: str
    checkpoint_id: str
    task_id: str
    task_path: str
    writes: tuple[tuple[int, str, Place], ...]

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and id of the checkpoint that it belongs to."""
        return self.namespace, self.checkpoint_id


_plain = StorableSerializer()
_CHECKPOINT, _WRITES = 1, 2


def body_of(row: CheckpointRow | WritesRow) -> bytes:
    """A row of the kind `checkpoint` as bytes."""
    parts: list[Any]
    if isinstance(row, CheckpointRow):
        places = {channel: _packed(place) for channel, place in row.places.items()}
        parts = [_CHECKPOINT, *row.key, row.parent_id, dict(row.metadata), dict(row.skeleton), places]
    else:
        writes = [[index, channel, _packed(place)] for index, channel, place in row.writes]
        parts = [_WRITES, *row.key, row.task_id, row.task_path, writes]
    return _plain.dumps_typed(parts)[1]


def row_of(body: bytes) -> CheckpointRow | WritesRow:
    """The row decoded from bytes. Raises `BrokenState` if they are not one."""
    try:
        kind, *parts = _plain.loads_typed(("msgpack", body))
        if kind == _CHECKPOINT:
            namespace, checkpoint_id, parent_id, metadata, skeleton, packed = parts
            places = {channel: _unpacked(place) for channel, place in packed.items()}
            return CheckpointRow(namespace, checkpoint_id, parent_id, metadata, skeleton, places)
        if kind == _WRITES:
            namespace, checkpoint_id, task_id, task_path, packed = parts
            writes = tuple((index, channel, _unpacked(place)) for index, channel, place in packed)
            return WritesRow(namespace, checkpoint_id, task_id, task_path, writes)
    except Exception as error:  # from msgpack, or from types that no longer exist; its message may quote the data
        raise BrokenState(f"a row of a graph's state cannot be read ({type(error).__name__})") from None
    raise BrokenState(f"a row of a graph's state has the kind {kind!r}, which this version does not know")


def _packed(place: Place) -> int | bytes | list[Any]:
    return [list(place.pages), *flat(place.tail)] if isinstance(place, MessagePlace) else place


def _unpacked(packed: Any) -> Place:
    if isinstance(packed, int | bytes):
        return packed
    pages, *tail = packed
    return MessagePlace(tuple(pages), tuple(unflat(tail)))


def value_body(typed: tuple[str, bytes]) -> bytes:
    """A serialized value as the bytes of a value row: its type, a zero byte, and the data."""
    return typed[0].encode() + b"\0" + typed[1]


def typed_value(body: bytes) -> tuple[str, bytes]:
    """The inverse of `value_body`."""
    kind, _, data = body.partition(b"\0")
    return kind.decode(), data


def page_body(ranges: Iterable[Range]) -> bytes:
    """A page of ranges as the bytes of a value row."""
    return value_body(("ranges", _plain.dumps_typed(flat(ranges))[1]))


def ranges_of(body: bytes) -> list[Range]:
    """The inverse of `page_body`: the ranges of a page."""
    return unflat(_plain.loads_typed(("msgpack", typed_value(body)[1])))


def ranges_over(numbers: Iterable[int]) -> list[Range]:
    """Sorted numbers as ranges of consecutive ones."""
    ranges: list[Range] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def flat(ranges: Iterable[Range]) -> list[int]:
    """Ranges as small numbers: the distance from the previous range, and the length; two bytes per range in msgpack."""
    numbers, last = [], 0
    for start, end in ranges:
        numbers += [start - last, end - start]
        last = end
    return numbers


def unflat(numbers: Sequence[int]) -> list[Range]:
    """The inverse of `flat`."""
    ranges, last = [], 0
    for distance, length in zip(numbers[::2], numbers[1::2], strict=True):
        ranges.append((last + distance, last + distance + length))
        last += distance + length
    return ranges
