"""Runs code that is not ours: graphs, the functions that create them, models and their libraries.

Such code may end in ways that no caller expects: `sys.exit`, a panic of an extension (pyo3's `PanicException` is a
`BaseException`), a spurious cancellation of its own task. This module turns each of these into an `Exception`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from schemas import storable_error

T = TypeVar("T")


class ForeignStop(Exception):
    """Foreign code raised something that is not an `Exception`; `original` is that object, and the message names its class."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(storable_error(original))
        self.original = original
        self.__cause__ = original


def original_of(error: BaseException) -> BaseException:
    """The exception that the foreign code itself raised."""
    return error.original if isinstance(error, ForeignStop) else error


def error_text(error: BaseException) -> str:
    """An error of foreign code as text for its user: its class and the beginning of its message."""
    return storable_error(original_of(error))


def close_unless_begun(work: Coroutine[Any, Any, Any]) -> None:
    """Keeps Python from warning about work that was never awaited. Work that has started is left to its task."""
    if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
        work.close()


@contextmanager
def no_exits() -> Iterator[None]:
    """For a task that runs foreign code: converts its `SystemExit` or `KeyboardInterrupt` to `ForeignStop`, since either would
    end the event loop."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        raise ForeignStop(error) from error


class Contained(Generic[T]):
    """Foreign work in its own task, so that it can neither cancel nor end our tasks."""

    def __init__(self, work: Awaitable[T]) -> None:
        self._task = asyncio.ensure_future(work)
        # The task itself is not awaited: a GeneratorExit that it ended with would close the awaiting coroutine.
        self._outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._task.add_done_callback(partial(_settle, self._outcome))

    async def result(self) -> T:
        """The result of the work. Raises what it raises if that is an `Exception`, and `ForeignStop` for anything else.

        A cancellation of the caller is passed to the work, but the work is not awaited: it may never end.
        """
        try:
            return await self._outcome
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    def stop(self, reason: Exception, *, after: float) -> None:
        """Cancels the work. If it has not ended after that many seconds, `result` raises `reason` without waiting for it."""
        self._task.cancel()
        asyncio.get_running_loop().call_later(after, self._abandon, reason)

    def _abandon(self, reason: Exception) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(reason)


async def contained(work: Awaitable[T]) -> T:
    """Awaits foreign work; see `Contained.result`."""
    return await Contained(work).result()


def _settle(outcome: asyncio.Future[T], task: asyncio.Future[T]) -> None:
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if outcome.done():
        return  # it is no longer awaited
    if error is None:
        outcome.set_result(task.result())
    else:
        outcome.set_exception(error if isinstance(error, Exception) else ForeignStop(error))
