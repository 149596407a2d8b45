"""Deliberate bugs of taking records in, of bringing them to an end, and of dropping and reading again what they hold."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import replace
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from sim_bug import bug

import streams.group_runtime
from schemas.common.turns import Turns
from streams.group_runtime import GroupRuntime
from streams.handler import RecordHandler
from streams.held_records import Holdings
from streams.kafka_clients import KafkaClients
from streams.offsets import OffsetTracker
from streams.unreadable import Stalls


@bug
def silence_is_taken_for_the_end() -> list[Any]:
    """A partition that returns nothing is taken for an empty one (this bug was ours)."""

    async def none(*_: Any) -> list[Any]:
        return []

    return [patch.object(Stalls, "among", none)]


@bug
def gaps_are_taken_for_missing_records() -> list[Any]:
    """Offsets of markers and of aborted and compacted records are waited for."""
    return [patch.object(OffsetTracker, "read_to", lambda *_: None)]


@bug
def completed_records_far_above_leave_no_room() -> list[Any]:
    """The span counts what a previous owner completed, so nothing below it is taken in (this bug was ours)."""

    def full(self: Any, slot: Any, tp: Any, _: int) -> str | None:
        if budget := self._holdings.full():
            return str(budget)
        return "span" if slot.trackers[tp].span >= streams.group_runtime.MAX_SPAN - 1 else None

    return [patch.object(GroupRuntime, "_full", full)]


@bug
def every_cancel_is_taken_for_an_order() -> list[Any]:
    """A record whose task was cancelled is dropped, whoever cancelled it (this bug was ours)."""
    return [patch.object(GroupRuntime, "_over", _dropped)]


@bug
def panics_leave_their_record_open() -> list[Any]:
    """A `BaseException` that is no `Exception` bypasses the handler, and its record never ends (this bug was ours)."""
    real = RecordHandler._bring_to_an_end

    async def bring_to_an_end(self: Any, record: Any) -> Any:
        try:
            return await self._process(record)
        except Exception:
            return await real(self, record)

    return [
        patch.object(RecordHandler, "_bring_to_an_end", bring_to_an_end),
        patch.object(GroupRuntime, "_over", _dropped),
    ]


def _dropped(self: Any, key: Any, task: Any) -> None:
    """`GroupRuntime._over` without a second try."""
    if not task.cancelled():
        task.exception()
    self._end(key, self._tasks.pop(task))


@bug
def dropped_values_are_not_read_again() -> list[Any]:
    """A record spilled by a flood in one thread is processed without its value."""

    async def restore(self: Any, delivery: Any, wanted: Any) -> None:
        delivery.spilled = False

    return [patch.object(Holdings, "restore", restore)]


@bug
def next_value_is_read_for_the_one_that_was_dropped() -> list[Any]:
    """A spilled record gets the value of the record behind it in its partition."""
    real = KafkaClients.look
    restoring = ContextVar("restoring", default=False)

    async def look(self: Any, positions: Any) -> Any:
        found = await real(self, positions)
        for stretch in found.values() if restoring.get() else ():
            records = stretch.records
            stretch.records = [replace(a, value=b.value) for a, b in pairwise(records)] + records[-1:]
        return found

    restore = Holdings._look

    async def looked(self: Any, delivery: Any) -> Any:
        restoring.set(True)  # no patch here: coroutines that overlap would leave each other's in place
        try:
            return await restore(self, delivery)
        finally:
            restoring.set(False)

    return [patch.object(Holdings, "_look", looked), patch.object(KafkaClients, "look", look)]


@bug
def turn_that_is_given_back_wakes_nobody() -> list[Any]:
    """Of two records whose values are to be read again, the second waits without an end."""

    def give(self: Any) -> None:
        self._left += 1

    return [patch.object(Turns, "give", give)]
