"""The one door to code that is not ours: graphs, the functions that make them, models and whatever they bring along.

Such code may end in ways that no caller expects: `sys.exit`, a panic of an extension (pyo3's `PanicException` is a
`BaseException`), a cancel of its own task that nobody asked for. Behind this door each of them is an `Exception`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from schemas import error_words

T = TypeVar("T")


class ForeignStop(Exception):
    """Foreign code ended with what is no `Exception`; `original` is that, and the text names its class."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(error_words(original))
        self.original = original
        self.__cause__ = original


def original_of(error: BaseException) -> BaseException:
    """What the foreign code itself raised."""
    return error.original if isinstance(error, ForeignStop) else error


def error_text(error: BaseException) -> str:
    """An error of foreign code as text for its user: its class and the first 500 characters of its message."""
    return error_words(original_of(error), 500)


def close_unless_begun(work: Coroutine[Any, Any, Any]) -> None:
    """Keeps Python from reporting work that was never awaited. What has begun is its task's to end."""
    if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
        work.close()


@contextmanager
def no_exits() -> Iterator[None]:
    """In a task that runs foreign code: a `SystemExit` or `KeyboardInterrupt` of that is raised as `ForeignStop`, since either
    would end the event loop."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        raise ForeignStop(error) from error


class Contained(Generic[T]):
    """Foreign work in a task of its own, so that it can neither cancel ours nor end them."""

    def __init__(self, work: Awaitable[T]) -> None:
        self._task = asyncio.ensure_future(work)
        # Not the task itself is awaited: a GeneratorExit that it ended with would close whoever waits for it.
        self._outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._task.add_done_callback(partial(_settle, self._outcome))

    async def result(self) -> T:
        """What the work comes to. Raises what it raises where that is an `Exception`, and `ForeignStop` for anything else.

        A cancel of the caller is passed to the work, which is not awaited: it may not end.
        """
        try:
            return await self._outcome
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    def stop(self, reason: Exception, *, after: float) -> None:
        """Cancels the work. Where it has not ended so many seconds later, `result` raises `reason` without it."""
        self._task.cancel()
        asyncio.get_running_loop().call_later(after, self._abandon, reason)

    def _abandon(self, reason: Exception) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(reason)


async def contained(work: Awaitable[T]) -> T:
    """Awaits foreign work, see `Contained.result`."""
    return await Contained(work).result()


def _settle(outcome: asyncio.Future[T], task: asyncio.Future[T]) -> None:
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if outcome.done():
        return  # nobody waits for it any longer
    if error is None:
        outcome.set_result(task.result())
    else:
        outcome.set_exception(error if isinstance(error, Exception) else ForeignStop(error))
