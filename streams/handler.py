"""Brings one record to its end: decode, process, try again, give up. What a processor raises is decided on here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from schemas import (
    BadRecord,
    Output,
    RawRecord,
    Record,
    ServerTrouble,
    Unreadable,
    UnreadableRow,
    check_sizes,
    decode,
    storable_error,
)
from schemas.common.clock import Clock, utc_now
from schemas.common.metrics import RuntimeMetrics
from schemas.common.recent import Backoff, pause_after
from streams.contract import Processor, Reject, Retry
from streams.dead_letters import dead_letter_outputs
from streams.runtime_options import RuntimeOptions

log = logging.getLogger("cauce.streams")
T = TypeVar("T")


class Attempts(Protocol):
    """Counts beginnings of records across crashes (`state.AttemptStore`)."""

    async def begun(self, group: str, topic: str, partition: int, offset: int) -> int:
        """The count."""
        ...

    async def begin(self, group: str, topic: str, partition: int, offset: int) -> int:
        """Counts one more and returns the count."""
        ...

    async def forget(self, group: str, topic: str, partition: int, offset: int) -> None:
        """The record was not the reason that its processing ended, or is done."""
        ...


class RecordHandler:
    """See `streams.group_runtime.Handler`."""

    def __init__(
        self,
        group: str,
        processor: Processor,
        process: Callable[[Record], Awaitable[Sequence[Output]]],
        *,
        attempts: Attempts,
        options: RuntimeOptions,
        metrics: RuntimeMetrics,
        alone: asyncio.Lock | None = None,
        now: Clock = utc_now,
    ) -> None:
        self._group, self._processor, self._process = group, processor, process
        self._attempts, self._options, self._metrics, self._now = attempts, options, metrics, now
        self._alone = alone or asyncio.Lock()
        """One in a process, whatever the groups in it: what kills it kills all of them."""

    async def __call__(
        self, raw: RawRecord, *, suspect: bool, failed: int = 0, let_go: Callable[[], bool] = lambda: False
    ) -> Sequence[Output]:
        """Returns what is to be published for this record, its dead letter included. Raises only `asyncio.CancelledError` for
        an order: whatever else escapes becomes a dead letter, since endless retries would hold the partition."""
        try:
            return await self._handle(raw, suspect=suspect, failed=failed, let_go=let_go)
        except GeneratorExit:
            raise  # this coroutine is closed
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                raise  # by order, or a sign that it is the record that ends its tasks: the caller counts those
            log.error("group %s: %s cannot be handled", self._group, raw.position, exc_info=error)
            return self._dead_letter(raw, f"it cannot be handled: {storable_error(error, 2000)}", max(1, failed))

    async def _handle(
        self, raw: RawRecord, *, suspect: bool, failed: int, let_go: Callable[[], bool]
    ) -> Sequence[Output]:
        try:
            record = decode(raw)
        except BadRecord as error:
            if isinstance(error, Unreadable) and failed <= self._options.crashes:
                return await self._give_up(error.record, str(error), 1)
            return self._dead_letter(raw, str(error), 1)
        if failed > self._options.crashes:
            return self._dead_letter(raw, "it could not be processed, nor could its failure be reported", failed)
        if failed == self._options.crashes:
            return await self._give_up(record, f"its processing was ended {failed} times from outside", failed)
        if not suspect:
            return await self._bring_to_an_end(record)
        position = (self._group, raw.topic, raw.partition, raw.offset)
        deaths = 1 + await self._until_available(lambda: self._attempts.begun(*position))
        if deaths >= self._options.crashes:
            # The count stays: until its dead letter is committed the record may be redelivered, and must not be tried then.
            return await self._give_up(record, f"its worker died {deaths} times while processing it", deaths)
        # The last try is made alone: what runs beside a record that kills its worker dies with it, and must not be
        # given up for that.
        async with self._alone if deaths == self._options.crashes - 1 else contextlib.nullcontext():
            await self._until_available(lambda: self._attempts.begin(*position))
            try:
                outputs = await self._bring_to_an_end(record)
            except asyncio.CancelledError:
                # Only an order says that the record is not the reason: a process that dies of it cancels what runs, too.
                if let_go():
                    await self._forget(*position)
                raise
            await self._forget(*position)
            return outputs

    async def _forget(self, *position: Any) -> None:
        await asyncio.shield(self._until_available(lambda: self._attempts.forget(*position)))

    async def _bring_to_an_end(self, record: Record) -> Sequence[Output]:
        failures, outages, options = 0, 0, self._options
        while True:
            try:
                outputs = await self._process(record)
                check_sizes(outputs)
                return outputs
            except Retry as retry:
                self._metrics.retries.labels(self._group, "asked").inc()
                await asyncio.sleep(retry.after)
            except Reject as reject:
                return [*reject.outputs, *self._dead_letter(record.raw, reject.reason, failures + 1)]
            except UnreadableRow as error:
                return await self._give_up(record, str(error), failures + 1)
            except BadRecord as error:
                return self._dead_letter(record.raw, str(error), failures + 1)
            except ServerTrouble as error:
                self._metrics.retries.labels(self._group, "unavailable").inc()
                if outages % 20 == 0:
                    log.warning("group %s: waiting for a server: %s", self._group, error)
                outages += 1
                await asyncio.sleep(pause_after(outages, 2 * options.backoff, options.outage_backoff))
            except GeneratorExit:
                raise  # this coroutine is closed
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                    raise
                self._metrics.retries.labels(self._group, "failed").inc()
                failures += 1
                log.warning(
                    "group %s: %s failed, attempt %d", self._group, record.raw.position, failures, exc_info=error
                )
                if failures >= options.attempts:
                    reason = storable_error(error, 2000)
                    return await self._give_up(record, reason, failures)
                await asyncio.sleep(pause_after(failures, options.backoff, options.max_backoff))

    async def _give_up(self, record: Record, reason: str, attempts: int) -> Sequence[Output]:
        outputs: Sequence[Output] = ()
        try:
            outputs = await self._until_available(lambda: self._processor.give_up(record, reason))
            check_sizes(outputs)
        except GeneratorExit:
            raise
        except UnreadableRow as error:
            log.warning(
                "group %s: its failure cannot be reported, only a dead letter is published: %s", self._group, error
            )
            outputs = ()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            log.exception("group %s: giving up on a record failed; only its dead letter is published", self._group)
            outputs = ()
        return [*outputs, *self._dead_letter(record.raw, reason, attempts)]

    async def _until_available(self, work: Callable[[], Awaitable[T]]) -> T:
        backoff = Backoff(self._options.backoff, self._options.outage_backoff)
        while True:
            try:
                return await work()
            except ServerTrouble:
                await asyncio.sleep(backoff.next())

    def _dead_letter(self, raw: RawRecord, reason: str, attempts: int) -> list[Output]:
        self._metrics.dead_letters.labels(self._group, raw.topic).inc()
        log.error("group %s: %s dead-lettered: %s", self._group, raw.position, reason)
        return dead_letter_outputs(raw, group=self._group, reason=reason, attempts=attempts, at=self._now())


def _is_cancelled() -> bool:
    """Whether this task was cancelled on purpose; a CancelledError alone may come from anywhere."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
