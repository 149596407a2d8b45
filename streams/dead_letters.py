"""Dead letters: records that could not be processed, kept as they were, with the reason."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas import (
    SYSTEM_TENANT,
    AuditEvent,
    DeadLetter,
    Envelope,
    NotFound,
    Output,
    RawRecord,
    Topic,
    Unavailable,
    derived_id,
    is_tenant_id,
)
from streams.kafka_clients import close_consumer
from streams.raw_reading import readable_again

MAX_INLINE_BYTES = 500_000
"""A larger value stays in its own topic only: base64 of it would not fit into a record."""


def dead_letter_outputs(
    raw: RawRecord, *, group: str, reason: str, attempts: int, at: datetime, through: int | None = None
) -> list[Output]:
    """The dead letter of a record and its audit event; the same ids whenever the record is given up again.

    `through`: see `DeadLetter`; the value of `raw` is a batch then.
    """
    position = (group, raw.topic, raw.partition, raw.offset)
    tenant = _tenant_of(raw)
    letter = DeadLetter(
        at=at,
        group=group,
        topic=raw.topic,
        partition=raw.partition,
        offset=raw.offset,
        reason=reason[:2000],
        attempts=attempts,
        key=_base64(raw.key),
        value=_base64(raw.value) if len(raw.value or b"") <= MAX_INLINE_BYTES else None,
        value_bytes=len(raw.value or b""),
        headers=tuple((name[:200], _base64(value)) for name, value in raw.headers[:100]),
        through=through,
    )
    event = AuditEvent(
        at=at,
        action="record.dead_lettered",
        actor="system",
        outcome="failed",
        subject=raw.position,
        reason=reason[:500],
        details={"group": group, "attempts": attempts},
    )

    def envelope(prefix: str, event_type: str) -> Envelope:
        return Envelope(derived_id(prefix, *position), event_type, f"cauce/{group}", tenant, at)

    key = (raw.key or b"").decode("utf-8", "replace")
    return [
        Output.of(Topic.DEAD_LETTERS, key, letter, envelope("dl", DeadLetter.TYPE)),
        Output.of(Topic.AUDIT_EVENTS, tenant, event, envelope("au", AuditEvent.TYPE)),
    ]


def _tenant_of(raw: RawRecord) -> str:
    """The tenant that the header names, or the system's own where it names none that can be."""
    for name, value in raw.headers:
        if name == "ce_tenantid" and value and is_tenant_id(text := value.decode("utf-8", "replace")):
            return text
    return SYSTEM_TENANT


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


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
        if letter.value is None and letter.value_bytes:
            raise NotFound(
                f"the record's {letter.value_bytes:,} bytes were too many to keep; it is still in {letter.topic}, "
                f"partition {letter.partition}, offset {letter.offset}, until the topic's retention ends"
            )
        headers = [(name, base64.b64decode(value or "")) for name, value in letter.headers]
        key = None if letter.key is None else base64.b64decode(letter.key)
        return key, None if letter.value is None else base64.b64decode(letter.value), headers

    @property
    def records(self) -> list[_Parts]:
        """The records that the letter stands for. Raises `NotFound` when they are not to be had."""
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
        return [(r.key, r.value, [(name, v or b"") for name, v in r.headers]) for r in found if r.offset in wanted]


def _reader(bootstrap: str) -> AIOKafkaConsumer:
    """A consumer of all partitions of `dead.letters`, in no group."""
    return AIOKafkaConsumer(
        Topic.DEAD_LETTERS.value,
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )


async def list_dead_letters(bootstrap: str, *, limit: int = 50) -> list[DeadLetterRow]:
    """The newest dead letters, oldest first. Raises `Unavailable` when Kafka does not answer."""
    consumer = _reader(bootstrap)
    try:
        await consumer.start()
        partitions = sorted(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        starts = await consumer.beginning_offsets(partitions)
        rows: list[tuple[int, DeadLetterRow]] = []
        for tp in partitions:
            # Every transaction leaves a marker that takes an offset: `limit` letters lie in twice as many.
            consumer.seek(tp, max(starts[tp], ends[tp] - 2 * limit - 2))
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                for r in records:
                    letter = DeadLetter.model_validate_json(r.value)
                    rows.append((r.timestamp, DeadLetterRow(f"{tp.partition}-{r.offset}", letter)))
    except KafkaError as error:
        raise Unavailable(f"Kafka at {bootstrap} does not answer: {error}") from error
    finally:
        await close_consumer(consumer)
    rows.sort(key=lambda row: row[0])
    return [row for _, row in rows[-limit:]]


async def until_dead(bootstrap: str, record_id: str, *, every: float = 2.0) -> str:
    """Waits until the record of this id (`ce_id`) is a dead letter; the reason. Looks after `every` seconds, then ever less
    often: what is refused is refused soon."""
    wanted = ("ce_id", _base64(record_id.encode()))
    while True:
        await asyncio.sleep(every)
        every = min(1.5 * every, 15.0)
        with contextlib.suppress(Unavailable):
            for row in await list_dead_letters(bootstrap):
                if wanted in row.letter.headers:
                    return row.letter.reason


async def find_dead_letter(bootstrap: str, number: str) -> DeadLetterRow:
    """The dead letter of this number. Raises `NotFound` when there is none."""
    partition, _, offset = number.partition("-")
    if not (partition.isdigit() and offset.isdigit()):
        raise NotFound(f"{number!r} is not a dead letter's number, such as 0-17")
    tp = TopicPartition(Topic.DEAD_LETTERS, int(partition))
    consumer = _reader(bootstrap)
    try:
        await consumer.start()
        if tp not in consumer.assignment():
            raise NotFound(f"there is no dead letter {number}")
        end = (await consumer.end_offsets([tp]))[tp]
        consumer.seek(tp, int(offset))
        while await consumer.position(tp) < end:
            for r in (await consumer.getmany(tp, timeout_ms=500, max_records=1)).get(tp, ()):
                if r.offset != int(offset):
                    raise NotFound(f"there is no dead letter {number}")
                return DeadLetterRow(number, DeadLetter.model_validate_json(r.value))
    except KafkaError as error:
        raise Unavailable(f"Kafka at {bootstrap} does not answer: {error}") from error
    finally:
        await close_consumer(consumer)
    raise NotFound(f"there is no dead letter {number}")


async def replay(bootstrap: str, rows: Sequence[DeadLetterRow]) -> int:
    """Sends records again to the topic they came from, as they were. Returns how many.

    Their ids are the same, so what was done in the meantime is not done twice. A letter that stands for a batch which could not
    be read is read again first. Raises `NotFound`, and sends nothing, where a record is not to be had.
    """
    records = [(row.letter.topic, *record) for row in rows for record in row.records]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    try:
        await producer.start()
        sent = [await producer.send(topic, value, key=key, headers=headers) for topic, key, value, headers in records]
        await asyncio.gather(*sent)
        return len(sent)
    except KafkaError as error:
        raise Unavailable(f"Kafka at {bootstrap} does not answer: {error}") from error
    finally:
        await producer.stop()
