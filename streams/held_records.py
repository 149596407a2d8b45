"""What the records that were taken in hold of a worker's memory, and whose.

Behind a slow run thousands of records of one thread may wait. So that they fill no budget that others need, a thread and a
tenant have a share of it: beyond that a record is taken in, and keeps its position in its lane, but its value is dropped and
read again from its partition when its turn comes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from schemas import RawRecord
from schemas.common.recent import Backoff
from streams.kafka_clients import KafkaClients
from streams.raw_reading import Stretch
from streams.runtime_options import RuntimeOptions
from streams.slot import Slot
from streams.unreadable import LOOK_SECONDS

log = logging.getLogger("cauce.streams")

STUBS = 8
"""Times `max_queued` records may wait of which only the positions are held."""


@dataclass(eq=False, slots=True)
class HeldRecord:
    """A record in its slot's lane. `tp` is its partition, `received_at` a monotonic time in seconds."""

    slot: Slot
    tp: TopicPartition
    raw: RawRecord
    received_at: float
    failed: int = 0
    """How often its task was ended from outside, or by a defect of ours."""
    held: int | None = None
    """Bytes that count for the budgets; None where only its position is held."""
    spilled: bool = False
    """`raw` has no value; it is to be read again."""

    @property
    def tenant(self) -> str:
        """The tenant in the record's key."""
        return (self.raw.key or b"").partition(b":")[0].decode("utf-8", "replace")


class Holdings:
    """The budgets of one group. Its methods belong to the event loop's thread."""

    def __init__(self, group: str, clients: KafkaClients, options: RuntimeOptions, *, spills: bool) -> None:
        """`spills`: values may be dropped. Where records of a key are not kept in order, none waits for another."""
        self._group, self._clients, self._options, self._spills = group, clients, options, spills
        self._records: Counter[Hashable] = Counter()
        self._bytes: Counter[Hashable] = Counter()
        """By tenant (its name) and thread (partition and key)."""
        self.records = self.bytes = self.stubs = 0
        self._spilled: dict[tuple[TopicPartition, int], HeldRecord] = {}
        self._reading = asyncio.Lock()

    def full(self) -> str | None:
        """The budget that is used up, if any."""
        if self.records >= self._options.max_queued or self.stubs >= STUBS * self._options.max_queued:
            return "records"
        return "bytes" if self.bytes >= self._options.max_queued_bytes else None

    def take(self, record: HeldRecord) -> None:
        """Counts a record that is taken in. Its value is dropped if its thread or tenant has used up its share."""
        size = len(record.raw.value or b"")
        if not self._spills or self._has_room(record, size):
            self._hold(record, size)
            return
        self.stubs += 1
        if size > self._options.small_bytes:
            record.raw, record.spilled = replace(record.raw, value=None), True
            self._spilled[record.tp, record.raw.offset] = record

    def give(self, record: HeldRecord) -> None:
        """The record is done, or dropped."""
        if self._spilled.get((record.tp, record.raw.offset)) is record:
            del self._spilled[record.tp, record.raw.offset]
        if record.held is None:
            self.stubs -= 1
            return
        self.records -= 1
        self.bytes -= record.held
        for whose in _owners(record):
            self._records[whose] -= 1
            self._bytes[whose] -= record.held
            if not self._records[whose]:
                del self._records[whose], self._bytes[whose]

    async def restore(self, record: HeldRecord, wanted: Callable[[], bool]) -> None:
        """Reads a value again that was dropped, and those of others behind it for which there is room by now.

        Waits for Kafka as long as it takes while the record is `wanted`. One that is not in its partition any more stays
        without a value, and becomes a dead letter with this reason.
        """
        backoff, looks = Backoff(self._options.backoff, self._options.max_backoff), 0
        while record.spilled and wanted():
            async with self._reading:
                if not record.spilled:
                    return
                stretch = await self._look(record)
            if stretch is not None and not record.spilled:
                return
            if stretch is not None and not stretch.problem:
                looks += 1
            if looks >= self._options.looks:
                log.error("group %s: %s cannot be read again", self._group, record.raw.position)
                record.spilled = False
                return
            await asyncio.sleep(backoff.next())

    async def _look(self, record: HeldRecord) -> Stretch | None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                stretch = (await self._clients.look({record.tp: record.raw.offset}))[record.tp]
        except (KafkaError, TimeoutError) as error:
            log.warning("group %s: %s is not read again yet: %r", self._group, record.raw.position, error)
            return None
        for raw in stretch.records:
            found = self._spilled.get((record.tp, raw.offset))
            size = len(raw.value or b"")
            if found is None or (found is not record and not self._has_room(found, size)):
                continue
            del self._spilled[record.tp, raw.offset]
            found.raw, found.spilled = raw, False
            self.stubs -= 1
            self._hold(found, size)
        return stretch

    def _has_room(self, record: HeldRecord, size: int) -> bool:
        options = self._options
        for whose, part in zip(_owners(record), (options.of_thread, options.of_tenant), strict=True):
            if whose not in self._records:
                continue  # one record of each is held in any case
            records, held = max(1, int(options.max_queued * part)), options.max_queued_bytes * part
            if self._records[whose] >= records or self._bytes[whose] + size > held:
                return False
        return True

    def _hold(self, record: HeldRecord, size: int) -> None:
        record.held = size
        self.records += 1
        self.bytes += size
        for whose in _owners(record):
            self._records[whose] += 1
            self._bytes[whose] += size


def _owners(record: HeldRecord) -> tuple[Hashable, Hashable]:
    return (record.tp.partition, record.raw.key), record.tenant
