"""Dead letters: records that could not be processed, kept as they were, with the reason."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aiokafka import TopicPartition

from schemas import (
    MAX_OUTPUT_BYTES,
    REPLAY_OF,
    SYSTEM_TENANT,
    Action,
    AuditEvent,
    CutPart,
    DeadLetter,
    Envelope,
    NotFound,
    Output,
    RawRecord,
    ServerTrouble,
    Topic,
    derived_id,
    is_tenant_id,
)
from streams.kafka_clients import close_producer, opened_consumer
from streams.kafka_servers import Kafka, answering, new_producer
from streams.raw_reading import Unreadable, read_between, readable_again
from streams.topic_admin import partitions_of

_LAST_SECOND = 253_402_300_799  # of the year 9999
MAX_INLINE_BYTES = 500_000
"""A larger value stays in its own topic only: base64 of it would not fit into a record."""
MAX_KEY_BYTES, MAX_HEADER_BYTES, MAX_HEADERS = 4_000, 50_000, 100
"""A larger key, or larger headers, are cut: with a value of `MAX_INLINE_BYTES` all of it is below 800 KB in a letter."""
KEPT_BYTES, KEPT_NAME = 400, 64
"""As much is kept of a key, of each header's value (bytes) and of its name (characters) where they are cut."""


def dead_letter_outputs(
    raw: RawRecord, *, group: str, reason: str, attempts: int, at: datetime, through: int | None = None
) -> list[Output]:
    """The dead letter of a record and its audit event; the same ids whenever the record is given up again.

    `through`: see `DeadLetter`; the value of `raw` is a batch then.
    """
    position = (group, raw.topic, raw.partition, raw.offset)
    tenant, cut = _tenant_of(raw), list[CutPart]()
    key, value = raw.key, raw.value
    if len(key or b"") > MAX_KEY_BYTES:
        cut.append(_cut("key", key or b""))
        key = (key or b"")[:KEPT_BYTES]
    if len(value or b"") > MAX_INLINE_BYTES:
        cut.append(_cut("value", value or b""))
        value = None
    letter = DeadLetter(
        at=at,
        group=group,
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        reason=reason[:2000],
        attempts=attempts,
        key=_base64(key),
        value=_base64(value),
        value_bytes=len(raw.value or b""),
        headers=_headers(raw, cut),
        cut=tuple(cut),
        through=through,
    )
    event = AuditEvent(
        at=at,
        action=Action.RECORD_DEAD_LETTERED,
        actor="system",
        outcome="failed",
        subject=raw.position,
        reason=reason[:500],
        details={"group": group, "attempts": attempts},
    )

    def envelope(prefix: str, event_type: str) -> Envelope:
        return Envelope(derived_id(prefix, *position), event_type, f"cauce/{group}", tenant, at)

    name = (key or b"").decode("utf-8", "replace")
    output = Output.of(Topic.DEAD_LETTERS, name, letter, envelope("dl", DeadLetter.TYPE))
    if len(output.value) > MAX_OUTPUT_BYTES:  # names of headers that are long in JSON
        output = smaller(output) or output
    return [
        output,
        Output.of(Topic.AUDIT_EVENTS, tenant, event, envelope("au", AuditEvent.TYPE)),
    ]


def smaller(output: Output) -> Output | None:
    """A dead letter that Kafka refused as too large, without anything of its record; None where nothing of it was left."""
    letter = DeadLetter.model_validate_json(output.value)
    if letter.key is None and letter.value is None and not letter.headers:
        return None
    gone = letter.model_copy(update={"key": None, "value": None, "headers": (), "reason": letter.reason[:500]})
    cut = [*letter.cut]
    for part, kept in (("key", letter.key), ("value", letter.value)):
        if kept is not None and not any(one.part == part for one in cut):
            cut.append(_cut(part, base64.b64decode(kept)))
    cut = [one for one in cut if one.part in ("key", "value", "headers")]
    return replace(output, key="", value=gone.model_copy(update={"cut": tuple(cut)}).to_bytes())


def _headers(raw: RawRecord, cut: list[CutPart]) -> tuple[tuple[str, str | None], ...]:
    """The headers as far as they fit; what does not is noted in `cut`."""
    size = sum(len(name.encode("utf-8", "replace")) + len(value or b"") for name, value in raw.headers)
    if size <= MAX_HEADER_BYTES and len(raw.headers) <= MAX_HEADERS:
        return tuple((name, _base64(value)) for name, value in raw.headers)
    everything = b"".join(name.encode("utf-8", "replace") + (value or b"") for name, value in raw.headers)
    cut.append(_cut("headers", everything))
    found = []
    for name, value in raw.headers[:MAX_HEADERS]:
        if len(value or b"") > KEPT_BYTES:
            cut.append(_cut(name[:KEPT_NAME], value or b""))
        found.append((name[:KEPT_NAME], _base64(value[:KEPT_BYTES] if value else value)))
    return tuple(found)


def _cut(part: str, data: bytes) -> CutPart:
    return CutPart(part=part, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def _tenant_of(raw: RawRecord) -> str:
    """The tenant that the header names, or the system's own where it names none that can be."""
    for name, value in raw.headers:
        if name == "ce_tenantid" and value and is_tenant_id(text := value.decode("utf-8", "replace")):
            return text
    return SYSTEM_TENANT


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _with_position(headers: list[tuple[str, bytes]], raw: RawRecord) -> list[tuple[str, bytes]]:
    """With the original position of the record: a row whose key is a position is written under that one."""
    if any(name == REPLAY_OF for name, _ in headers):
        return headers
    return [*headers, (REPLAY_OF, raw.position.encode())]


_Parts = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """A dead letter and where it lies: `number` is `partition-offset` in `dead.letters`."""

    number: str
    letter: DeadLetter

    @property
    def raw(self) -> _Parts:
        """Key, value and headers of the record as it was. Raises `NotFound` when the value was too large to keep."""
        letter = self.letter
        if letter.cut or (letter.value is None and letter.value_bytes):
            size = max(letter.value_bytes, sum(one.size for one in letter.cut))
            raise NotFound(
                f"the record's {size:,} bytes were too many to keep; it is still in {letter.topic}, "
                f"partition {letter.partition}, offset {letter.offset}, until the topic's retention ends"
            )
        headers = [(name, base64.b64decode(value or "")) for name, value in letter.headers]
        headers = _with_position(headers, RawRecord(letter.topic, letter.partition, letter.offset, 0, None, None))
        key = None if letter.key is None else base64.b64decode(letter.key)
        return key, None if letter.value is None else base64.b64decode(letter.value), headers

    @property
    def records(self) -> list[_Parts]:
        """The records that the letter stands for. Raises `NotFound` when they are not available."""
        letter = self.letter
        if letter.through is None:
            return [self.raw]
        try:
            found = readable_again(self.raw[1] or b"", letter.topic, letter.partition)
        except ValueError as error:
            raise NotFound(
                f"dead letter {self.number} is of bytes in {letter.topic}, partition {letter.partition}, offset {letter.offset}, "
                f"that still cannot be read: {error}; whoever wrote them has to send the message again"
            ) from error
        wanted = range(letter.offset, letter.through + 1)
        return [
            (r.key, r.value, _with_position([(name, v or b"") for name, v in r.headers], r))
            for r in found
            if r.offset in wanted
        ]


async def list_dead_letters(bootstrap: Kafka, *, limit: int = 50) -> list[DeadLetterRow]:
    """The newest dead letters, oldest first. Raises `Unavailable` when Kafka does not answer, `NotFound` without the topic.

    A letter that itself cannot be read is included, as a letter that states this.
    """
    async with answering(bootstrap):
        starts, ends = await _bounds(bootstrap)
        # Every transaction leaves a marker that takes an offset, and aborted ones leave more: `limit` letters lie in twice as
        # many as a rule. Where they do not, further back.
        back, rows = 2 * limit + 2, list[tuple[datetime, DeadLetterRow]]()
        while True:
            ranges = {tp: (max(starts[tp], end - back), end) for tp, end in ends.items()}
            rows = [_row(found) async for found in read_between(bootstrap, ranges)]
            if len(rows) >= limit or all(start == starts[tp] for tp, (start, _) in ranges.items()):
                break
            back *= 8
    rows.sort(key=lambda row: row[0])
    return [row for _, row in rows[-limit:]]


async def _bounds(bootstrap: Kafka) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Where the partitions of `dead.letters` begin and end."""
    partitions = await partitions_of(bootstrap, [Topic.DEAD_LETTERS])
    async with opened_consumer(bootstrap, isolation_level="read_committed") as consumer:
        return await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)


def _row(found: RawRecord | tuple[TopicPartition, Unreadable]) -> tuple[datetime, DeadLetterRow]:
    if isinstance(found, RawRecord):
        raw, reason, through = found, "", None
    else:
        tp, bad = found
        raw = RawRecord(tp.topic, tp.partition, bad.first, bad.timestamp_ms, None, bad.data)
        reason, through = bad.reason, bad.end - 1
    at = datetime.fromtimestamp(min(max(0, raw.timestamp_ms) / 1000, _LAST_SECOND), UTC)
    number = f"{raw.partition}-{raw.offset}"
    if not reason:
        try:
            return at, DeadLetterRow(number, DeadLetter.model_validate_json(raw.value or b""))
        except ValueError as error:
            reason = str(error)
    value = raw.value or b""
    letter = DeadLetter(
        at=at,
        group="-",
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        reason=f"this dead letter itself cannot be read: {reason}"[:2000],
        value=_base64(value) if len(value) <= MAX_INLINE_BYTES else None,
        value_bytes=len(value),
        through=through,
    )
    return at, DeadLetterRow(number, letter)


async def until_dead(bootstrap: Kafka, record_id: str, *, every: float = 2.0) -> str:
    """Waits until the record of this id (`ce_id`) is a dead letter; the reason. Looks after `every` seconds, then ever less
    often: what is refused is refused soon."""
    wanted = ("ce_id", _base64(record_id.encode()))
    while True:
        await asyncio.sleep(every)
        every = min(1.5 * every, 15.0)
        with contextlib.suppress(ServerTrouble):
            for row in await list_dead_letters(bootstrap):
                if wanted in row.letter.headers:
                    return row.letter.reason


async def find_dead_letter(bootstrap: Kafka, number: str) -> DeadLetterRow:
    """The dead letter of this number. Raises `NotFound` when there is none."""
    partition, _, offset = number.partition("-")
    if not (partition.isdigit() and offset.isdigit()):
        raise NotFound(f"{number!r} is not a dead letter's number, such as 0-17")
    tp, at = TopicPartition(Topic.DEAD_LETTERS.value, int(partition)), int(offset)
    async with answering(bootstrap):
        starts, ends = await _bounds(bootstrap)
        if starts.get(tp, 0) <= at < ends.get(tp, 0):
            async with contextlib.aclosing(read_between(bootstrap, {tp: (at, at + 1)})) as found:
                async for one in found:
                    return _row(one)[1]
    raise NotFound(f"there is no dead letter {number}")


async def replay(bootstrap: Kafka, rows: Sequence[DeadLetterRow]) -> int:
    """Sends records again to the topic they came from, as they were. Returns how many.

    Their ids are the same, so what was done in the meantime is not done twice. A letter that stands for a batch which could not
    be read is read again first. Raises `NotFound`, and sends nothing, where a record is not to be had.
    """
    records = [(row.letter.topic, *record) for row in rows for record in row.records]
    producer = new_producer(bootstrap_servers=bootstrap, enable_idempotence=True)
    try:
        async with answering(bootstrap):
            await producer.start()
            sent = [
                await producer.send(topic, value, key=key, headers=headers) for topic, key, value, headers in records
            ]
            await asyncio.gather(*sent)
            return len(sent)
    finally:
        await close_producer(producer)
