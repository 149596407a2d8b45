"""Tasks that serve everybody, such as the reading of a topic for all streams of a process.

Two rules hold for them. Nothing that one record or one item contains ends them: it is counted, logged, and passed over
(`ItemFailures`). And one that ends although nobody stopped it ends its process, visibly (`ServingTask`): whatever it served
would stand still without anybody noticing. `tests/cauce/test_serving_tasks.py` finds tasks without an end that are started in
another way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any

from schemas.text import storable_error

log = logging.getLogger("cauce.serving")

LOG_SECONDS = 10.0
"""Between two lines of a task about failed items: a million of them must not fill the disk."""
PAUSE = 1.0
"""Seconds before work that failed is tried again."""


class TaskWatch:
    """What a process knows of its serving tasks. `ended` has the reason for each that ended although nobody stopped it."""

    def __init__(
        self, *, on_end: Callable[[str], None] = lambda task: None, on_item: Callable[[str], None] = lambda task: None
    ) -> None:
        """`on_end` is called with the name of a task that has ended, `on_item` with that of a task in which an item failed."""
        self._on_end, self._on_item = on_end, on_item
        self._open = True
        self.ended: dict[str, str] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Tasks that are started in the block, and by what it starts, are this watch's."""
        token = _watch.set(self)
        try:
            yield
        finally:
            self._open = False  # what ends now ends with its event loop
            _watch.reset(token)

    def has_ended(self, task: str, reason: str) -> None:
        """A task has ended although nobody stopped it."""
        if self._open:
            self.ended.setdefault(task, reason)
            self._on_end(task)

    def item_failed(self, task: str) -> None:
        """A task has passed over an item."""
        self._on_item(task)

    async def trouble(self) -> str | None:
        """What has ended, for a health page; None if everything runs."""
        return "; ".join(f"{task} has ended: {reason}" for task, reason in self.ended.items()) or None


_watch: ContextVar[TaskWatch | None] = ContextVar("cauce_task_watch", default=None)


class ServingTask:
    """A task that is to run until it is stopped. `start` may be called again after its end."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, Any]], *, may_return: bool = False) -> None:
        """`name` completes the sentence "... has ended". `may_return`: `work` may come to an end, but may not fail."""
        self._name, self._work, self._may_return = name, work, may_return
        self._task: asyncio.Task[Any] | None = None
        self._watch: TaskWatch | None = None
        self._stopping = False

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Starts it."""
        self._watch, self._stopping = _watch.get(), False
        self._task = asyncio.create_task(self._work(), name=self._name)
        self._task.add_done_callback(self._over)

    async def stop(self) -> None:
        """Cancels it, and waits until it is over. What it raises then is logged."""
        self._stopping = True
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def until_over(self) -> None:
        """Waits for its end, to which it was asked to come by other means. What it raises is logged."""
        self._stopping = True
        if self._task:
            await asyncio.wait({self._task})

    def _over(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if self._stopping or (self._may_return and error is None and not task.cancelled()):
            if error:
                log.warning("%s did not stop well", self._name, exc_info=error)
            return
        reason = storable_error(error) if error else "it was cancelled" if task.cancelled() else "it returned"
        log.critical("%s has ended although nobody stopped it: %s", self._name, reason, exc_info=error)
        if self._watch:
            self._watch.has_ended(self._name, reason)


class ItemFailures:
    """Counts and logs what a serving task passes over. Made where the task is made."""

    def __init__(self, task: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._task, self._clock = task, clock
        self._watch = _watch.get()
        self._quiet_until, self._unlogged = float("-inf"), 0

    def note(self, where: str, error: BaseException) -> None:
        """An item failed. `where` it is, such as `topic/partition/offset`."""
        if self._watch:
            self._watch.item_failed(self._task)
        if self._clock() < self._quiet_until:
            self._unlogged += 1
            return
        others = f" ({self._unlogged} others since the last line like this)" if self._unlogged else ""
        reason = storable_error(error).partition("\n")[0]  # pydantic's further lines quote what people wrote
        log.warning("%s: %s failed and is passed over: %s%s", self._task, where, reason, others)
        self._quiet_until, self._unlogged = self._clock() + LOG_SECONDS, 0


def is_order(error: BaseException) -> bool:
    """Whether an exception in a task is an order to end it, and no failure. A stray `CancelledError` is a failure: clients
    leave them in futures of theirs."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(error, GeneratorExit | KeyboardInterrupt | SystemExit)


async def again_and_again(
    work: Callable[[], Coroutine[Any, Any, Any]],
    *,
    failed: Callable[[BaseException], None],
    pause: float = PAUSE,
) -> None:
    """Calls `work` until it returns; after whatever it raises, a pause in seconds."""
    while True:
        try:
            await work()
            return
        except BaseException as error:
            if is_order(error):
                raise
            failed(error)
        await asyncio.sleep(pause)
