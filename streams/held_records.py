"""What the records that were taken in hold of a worker's memory, and whose.

Behind a slow run thousands of records of one thread may wait. So that they fill no budget that others need, a thread, a user
and a tenant have a share of what is free: beyond that a record is taken in, and keeps its position in its lane, but its value
is dropped and read again from its partition when its turn comes. Since a share is one of what is free, some is free for
whoever comes next, however many flood: n tenants that take all they can leave 1 / (n + 1) of the budget.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from schemas import RawRecord
from schemas.common.recent import Backoff
from schemas.common.turns import Turns
from streams.kafka_clients import KafkaClients
from streams.raw_reading import Stretch
from streams.runtime_options import RuntimeOptions
from streams.slot import Slot
from streams.unreadable import LOOK_SECONDS

log = logging.getLogger("cauce.streams")

STUBS = 8
"""Times `max_queued` records may wait of which only the positions are held."""

_USER = re.compile(rb'"user_id"\s*:\s*"([^"\\]{1,128})"')
_USER_WITHIN = 512
"""Bytes of a value in which its user is looked for. Our writers put it first; who writes it elsewhere shares with those of the
tenant whose user is not known. (Within a text a quote has a backslash before it, so nobody's words are taken for it.)"""


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
    tenant: str = field(init=False)
    """The tenant in the record's key."""
    user: str = field(init=False)
    """Whom the record names as its user, to share fairly and for nothing else; empty where it names nobody."""

    def __post_init__(self) -> None:
        self.tenant = (self.raw.key or b"").partition(b":")[0].decode("utf-8", "replace")
        found = _USER.search(self.raw.value or b"", 0, _USER_WITHIN)
        self.user = found[1].decode("utf-8", "replace") if found else ""


class Holdings:
    """The budgets of one group. Its methods belong to the event loop's thread."""

    def __init__(self, group: str, clients: KafkaClients, options: RuntimeOptions, *, spills: bool) -> None:
        """`spills`: values may be dropped. Where records of a key are not kept in order, none waits for another."""
        self._group, self._clients, self._options, self._spills = group, clients, options, spills
        self._records: Counter[Hashable] = Counter()
        self._bytes: Counter[Hashable] = Counter()
        """By tenant (its name), user (both names) and thread (partition, key and None)."""
        self.records = self.bytes = self.stubs = 0
        self._spilled: dict[tuple[TopicPartition, int], HeldRecord] = {}
        self._reading = Turns(1)

    def full(self) -> str | None:
        """The budget that is used up, if any. What is beyond the budgets is spilled where that is possible."""
        if self._spills:
            return "records" if self.stubs >= STUBS * self._options.max_queued else None
        if self.records >= self._options.max_queued:
            return "records"
        return "bytes" if self.bytes >= self._options.max_queued_bytes else None

    def take(self, record: HeldRecord) -> None:
        """Counts a record that is taken in. Its value is dropped if its thread, user or tenant has used up its share."""
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
            async with self._reading.turn(record.tenant, record.user):
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
            if (
                found is not record
            ):  # which runs now, and waits no longer: what it needs is no part of what is kept for later
                self.stubs -= 1
                self._hold(found, size)
        return stretch

    def _has_room(self, record: HeldRecord, size: int) -> bool:
        options = self._options
        records, held = options.max_queued - self.records, options.max_queued_bytes - self.bytes
        for whose, part in zip(_owners(record), options.shares, strict=True):
            if self._records[whose] >= part * records or self._bytes[whose] + size > part * held:
                return False
        return True

    def _hold(self, record: HeldRecord, size: int) -> None:
        record.held = size
        self.records += 1
        self.bytes += size
        for whose in _owners(record):
            self._records[whose] += 1
            self._bytes[whose] += size


def _owners(record: HeldRecord) -> tuple[Hashable, Hashable, Hashable]:
    return (record.tp.partition, record.raw.key, None), (record.tenant, record.user), record.tenant
