"""Threads for code of hosted graphs that may block: plain functions of nodes, and functions that create graphs.

LangGraph runs plain functions in the event loop's default executor, which also resolves host names. To keep blocking code from
delaying others, each leg and each tenant has a share of the threads, and Cauce's own work has separate ones.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")
THREADS = 256
"""The default number of threads. They are created on demand."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of blocking code: `part` is a leg or the creation of a graph, `whole` is the tenant."""

    whole: str
    part: str


_OWNER: ContextVar[Owner | None] = ContextVar("owner", default=None)


def own_threads(owner: Owner) -> None:
    """Attributes all later thread calls of this task, and of tasks that it creates, to the owner."""
    _OWNER.set(owner)


class SharedThreads:
    """At most `size` threads, of which one whole may use three quarters, and one part an eighth or four."""

    def __init__(self, size: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._of_whole, self._of_part = max(1, size * 3 // 4), max(min(4, size), size // 8)
        self._lock = threading.Lock()
        self._running: Counter[str | Owner] = Counter()
        self._waiting: dict[Owner, deque[tuple[Future[Any], Callable[[], Any]]]] = {}

    def submit(self, owner: Owner, call: Callable[[], T]) -> Future[T]:
        """Runs the call in a thread, now or when the owner's share allows."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting.setdefault(owner, deque()).append((future, call))
            begun = self._take(owner)
        if begun:
            self._pool.submit(self._run, owner, *begun)
        return future

    async def call(self, owner: Owner, work: Callable[..., T], *arguments: Any) -> T:
        """Awaits a call in a thread, in this task's context. Raises what it raises."""

        def called() -> T:
            try:
                return work(*arguments)
            except StopIteration as error:  # no future accepts it, so its caller would wait forever
                raise RuntimeError("StopIteration") from error

        return await asyncio.wrap_future(self.submit(owner, partial(copy_context().run, called)))

    def shutdown(self) -> None:
        """Starts no more calls; does not wait for running ones."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, owner: Owner, future: Future[Any], call: Callable[[], Any]) -> None:
        try:
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
        finally:
            del future, call
            self._done(owner)

    def _done(self, owner: Owner) -> None:
        with self._lock:
            for counted in (owner.whole, owner):
                self._running[counted] -= 1
                if not self._running[counted]:
                    del self._running[counted]
            following = [
                (waits, begun)
                for waits in list(self._waiting)
                if waits.whole == owner.whole and (begun := self._take(waits))
            ]
        for waits, begun in following:
            self._pool.submit(self._run, waits, *begun)

    def _take(self, owner: Owner) -> tuple[Future[Any], Callable[[], Any]] | None:
        """The owner's next call, if it may start."""
        if self._running[owner.whole] >= self._of_whole or self._running[owner] >= self._of_part:
            return None
        waiting = self._waiting[owner]
        taken = waiting.popleft()
        if not waiting:
            del self._waiting[owner]
        for counted in (owner.whole, owner):
            self._running[counted] += 1
        return taken


class GraphThreads(ThreadPoolExecutor):
    """A default executor for a loop that runs graphs: `size` threads for their nodes, and separate ones for everything else.

    A shutdown does not wait: a node that blocks forever must not keep its process from exiting.
    """

    def __init__(self, size: int) -> None:
        super().__init__(thread_name_prefix="own")
        self._nodes = SharedThreads(size, "node")

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """See `Executor`."""
        owner = _OWNER.get()
        if owner is None:
            return super().submit(fn, *args, **kwargs)
        return self._nodes.submit(owner, partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor`; never waits."""
        self._nodes.shutdown()
        super().shutdown(wait=False, cancel_futures=True)
