"""Partitions that are not polled for a while, because what comes next in them cannot be read: where, why, and what is next.

What can never be read (a wrong check sum, broken bytes) is read a few times more, since a wire or a disk may have been the
reason, and becomes a dead letter with its bytes; the partition continues after it. What only this installation cannot read waits:
the fault is here and not in the record, another worker may be able to, and nothing is lost by waiting.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from schemas.common.recent import Recent, pause_after
from streams.raw_reading import Stretch

log = logging.getLogger("cauce.streams")

LOOK_SECONDS = 6.0
_POLLS = 5
"""A process that hardly comes to poll has not been given little."""
SAID = 1000
"""Positions that were logged and are remembered, so that each is logged once."""


class Next(Enum):
    """What is to be done about a partition that was looked at."""

    POLL = "poll"
    """Nothing is wrong with it."""
    WAIT = "wait"
    """Look again later."""
    GIVE_UP = "give up"
    """What lies there becomes a dead letter."""
    FIND = "find"
    """The offset is not in the log any more."""


@dataclass(slots=True)
class _Blocked:
    offset: int = -1
    reason: str = ""
    looks: int = 0
    again_at: float = 0.0


class UnreadablePartitions:
    """The partitions of one group that are not polled. Times are monotonic, in seconds."""

    def __init__(self, group: str, *, looks: int, backoff: float, max_backoff: float) -> None:
        self._group, self._looks, self._backoff, self._max_backoff = group, looks, backoff, max_backoff
        self._blocked: dict[TopicPartition, _Blocked] = {}
        self._said: Recent[tuple[TopicPartition, int, str], None] = Recent(SAID)
        self._poll_error = ""

    def __contains__(self, tp: object) -> bool:
        return tp in self._blocked

    def __len__(self) -> int:
        return sum(bool(blocked.reason) for blocked in self._blocked.values())

    def hold(self, tp: TopicPartition) -> None:
        """The partition is examined closely, immediately, before it is polled again."""
        self._blocked.setdefault(tp, _Blocked())

    def due(self, now: float) -> list[TopicPartition]:
        """The partitions to look at now."""
        return [tp for tp, blocked in self._blocked.items() if blocked.again_at <= now]

    def later(self, partitions: Iterable[TopicPartition], now: float, why: str) -> None:
        """The look itself failed."""
        for tp in partitions:
            if blocked := self._blocked.get(tp):
                blocked.again_at = now + self._max_backoff
        self.poll_failed(why)

    def saw(self, tp: TopicPartition, stretch: Stretch, now: float) -> Next:
        """What follows from a look. All records of the stretch were taken in."""
        blocked = self._blocked.setdefault(tp, _Blocked())
        unreadable = stretch.unreadable
        if stretch.out_of_range:
            return Next.FIND
        if stretch.cut_short:
            if blocked.offset != stretch.end:
                blocked.offset, blocked.reason, blocked.looks, blocked.again_at = stretch.end, "", 0, now
            if stretch.records:  # it has made progress, and comes after those that have not had their turn
                self._blocked[tp] = self._blocked.pop(tp)
            return Next.WAIT
        if unreadable is None and not stretch.problem:
            del self._blocked[tp]
            return Next.POLL
        reason = unreadable.reason if unreadable else f"the broker says {stretch.problem}"
        self._stands(tp, blocked, stretch.end, reason, now)
        if unreadable is None or unreadable.curable or blocked.looks < self._looks:
            return Next.WAIT
        del self._blocked[tp]
        return Next.GIVE_UP

    def cut_off(self, tp: TopicPartition, offset: int, now: float) -> None:
        """The log ends before what was read already."""
        reason = "the log ends before what this group has read already: the topic was truncated or recreated"
        self._stands(tp, self._blocked.setdefault(tp, _Blocked()), offset, reason, now)

    def _stands(self, tp: TopicPartition, blocked: _Blocked, offset: int, reason: str, now: float) -> None:
        blocked.looks = blocked.looks + 1 if blocked.offset == offset else 1
        blocked.offset, blocked.reason = offset, reason
        blocked.again_at = now + pause_after(blocked.looks, self._backoff, self._max_backoff)
        if (tp, offset, reason) not in self._said:
            self._said[tp, offset, reason] = None
            log.error(
                "group %s: %s/%d cannot be read at offset %d: %s", self._group, tp.topic, tp.partition, offset, reason
            )

    def release(self, tp: TopicPartition) -> None:
        """Lets the partition be polled again."""
        self._blocked.pop(tp, None)

    def clear(self) -> None:
        """The partitions were taken away."""
        self._blocked.clear()

    def poll_failed(self, why: str) -> None:
        """A poll raised, or a look. Logged once, until one succeeds again."""
        if why != self._poll_error:
            log.warning("group %s: polling failed, what it may have taken is read again: %s", self._group, why)
        self._poll_error = why

    def polled(self) -> None:
        """A poll was well."""
        self._poll_error = ""

    def trouble(self) -> str | None:
        """What cannot be read, as text; None if everything can be read."""
        found = [
            f"{tp.topic}/{tp.partition} cannot be read at offset {blocked.offset}: {blocked.reason}"
            for tp, blocked in sorted(self._blocked.items())
            if blocked.reason
        ]
        more = f" (and {len(found) - 5} other partitions)" if len(found) > 5 else ""
        if found:
            return "; ".join(found[:5]) + more
        return f"polling fails: {self._poll_error}" if self._poll_error else None


def is_in_order(records: Sequence[ConsumerRecord], end: int) -> bool:
    """Whether offsets rise and lie below where the consumer stands. aiokafka trusts the offset in a record itself."""
    return records[-1].offset < end and all(a.offset < b.offset for a, b in pairwise(records))


class Stalls:
    """Finds partitions that had more than was read and gave nothing of it since.

    Errors that the broker answers a fetch with are not raised by aiokafka, and neither is the end of its fetching task.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._looked = seconds, time.monotonic()
        self._polls = 0
        self._waited: dict[TopicPartition, int] = {}
        """Positions at the last look behind which there was more."""

    async def among(self, partitions: Iterable[TopicPartition], consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        """Call it after each poll. The partitions that had more at the last look, some seconds and polls ago, and whose position
        has not moved since. What was written after that look may be on its way."""
        self._polls += 1
        if self._polls < _POLLS or time.monotonic() < self._looked + self._seconds:
            return []
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                stand = {tp: await consumer.position(tp) for tp in partitions}
                ends = await consumer.end_offsets(list(stand)) if stand else {}
        except (KafkaError, TimeoutError):
            stand, ends = {}, {}  # a poll will report it, or a later look
        silent = [tp for tp, position in stand.items() if self._waited.get(tp) == position]
        self._waited = {tp: position for tp, position in stand.items() if ends[tp] > position}
        self._looked, self._polls = time.monotonic(), 0
        return silent
