"""A deterministic world: one event loop with a virtual clock, and nodes that can be killed and frozen between any two steps.

Every step of a task (from one await to the next) is one callback of the loop. A callback belongs to the node in whose
context it was made. A killed node's callbacks never run again, not even `finally` blocks, as after SIGKILL; those of a
frozen node wait until it thaws, as after SIGSTOP. Nothing else decides what runs when: the same seed gives the same run.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

_NODE: ContextVar[Node | None] = ContextVar("node", default=None)
EPOCH = 1_800_000_000.0
"""Seconds since 1970 at which every world begins."""


class Stuck(Exception):
    """Nothing is left to happen, or too much has: something waits forever."""


class Node:
    """A process of the world."""

    def __init__(self, name: str, loop: VirtualLoop) -> None:
        self.name, self._loop = name, loop
        self.dead = self.frozen = False
        self.steps = 0
        self.dies_at = -1
        """The step before which it is killed; -1 for none."""
        self.context = copy_context()
        self.context.run(_NODE.set, self)
        self._held: list[events.Handle] = []

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something as this node."""
        return self._loop.create_task(work, name=self.name, context=self.context)

    def kill(self) -> None:
        """SIGKILL."""
        self.dead = True
        self._held.clear()

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        self.frozen = False
        held, self._held = self._held, []
        for handle in held:
            self._loop.run_later(handle)

    def admits(self, handle: events.Handle) -> bool:
        """Whether a callback of this node may run now."""
        if self.dead:
            return False
        if self.frozen:
            self._held.append(handle)
            return False
        self.steps += 1
        if self.steps == self.dies_at:
            self.kill()
            return False
        return True


def current_node() -> Node | None:
    """The node that runs."""
    return _NODE.get()


class VirtualLoop(asyncio.BaseEventLoop):
    """Time passes only when nothing can run. Raises `Stuck` when nothing ever will, or after `max_steps` callbacks."""

    def __init__(self, seed: int, *, max_steps: int = 400_000) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.now = 0.0
        self.steps = 0
        self._max_steps = max_steps
        self._everybody = copy_context()
        self.tasks: list[asyncio.Task[Any]] = []
        """Kept until the end: a task that nobody refers to would be collected, and its `finally` blocks would run."""
        self.set_task_factory(self._make_task)
        self.failures: list[str] = []
        self.set_exception_handler(self._note_failure)

    def time(self) -> float:
        return self.now

    def run_later(self, handle: events.Handle) -> None:
        """Queues a callback that was held back."""
        self._ready.append(handle)  # type: ignore[attr-defined]

    def world(self, delay: float, callback: Callable[..., None], *arguments: Any) -> None:
        """Runs something after `delay` seconds that belongs to no node: a server, the network."""
        self.call_at(self.now + delay, callback, *arguments, context=self._everybody)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> events.Handle:
        return self.call_soon(callback, *args, context=context)

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        if not ready:
            while scheduled and scheduled[0]._cancelled:
                heapq.heappop(scheduled)._scheduled = False
            if not scheduled:
                raise Stuck("nothing is left to happen")
            self.now = max(self.now, scheduled[0]._when)
            while scheduled and scheduled[0]._when <= self.now:
                handle = heapq.heappop(scheduled)
                handle._scheduled = False
                ready.append(handle)
        handle = ready.popleft()
        if handle._cancelled:
            return
        self.steps += 1
        if self.steps > self._max_steps:
            raise Stuck(f"still not at rest after {self._max_steps} steps")
        node = handle._context.get(_NODE)
        if node is None or node.admits(handle):
            handle._run()

    def _make_task(self, loop: Any, work: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **options)
        self.tasks.append(task)
        return task

    def _note_failure(self, loop: Any, context: dict[str, Any]) -> None:
        node = current_node()
        if node is None or not node.dead:
            self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _process_events(self, event_list: Any) -> None:
        raise AssertionError("there are no files or sockets here")

    def end(self) -> None:
        """Lets go of everything without running it."""
        self.set_exception_handler(lambda *_: None)
        for task in self.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                try:
                    task.get_coro().close()  # type: ignore[union-attr]
                except (RuntimeError, Exception):  # it awaits in a `finally`, or runs into a world that is over
                    continue
        self.tasks.clear()
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        self.close()
