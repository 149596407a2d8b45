"""Event loops for processes that run application code, and how such a process exits.

asyncio ends a loop, and with it the process, when any task raises `SystemExit` or `KeyboardInterrupt`: one `sys.exit` in a
graph node would end the runs of all users. On these loops the task keeps its exception, and everything else continues.
Signals are handled (`loop.add_signal_handler`), so no legitimate request to stop arrives as one of these exceptions.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

log = logging.getLogger("cauce")
T = TypeVar("T")

END_SECONDS = 5.0
"""Time for what is still running after everything of ours was closed."""


class _Outliving:
    """Overrides `run_forever` and `run_until_complete` of a loop."""

    _main: asyncio.Future[Any] | None = None

    def run_until_complete(self, future: Any) -> Any:
        before, self._main = self._main, future if asyncio.isfuture(future) else None
        try:
            return super().run_until_complete(future)  # type: ignore[misc]
        finally:
            self._main = before

    def run_forever(self) -> None:
        while True:
            try:
                super().run_forever()  # type: ignore[misc]
            except (SystemExit, KeyboardInterrupt) as error:
                main = self._main
                if main is None or (main.done() and not main.cancelled() and main.exception() is error):
                    raise
                log.error("%r in a task of application code; this process continues", error, exc_info=error)
            else:
                if self._main is None:
                    return
            if self._main is None or self._main.done():
                return


class OutlivingLoop(_Outliving, asyncio.SelectorEventLoop):
    """asyncio's loop; it survives `SystemExit` and `KeyboardInterrupt` in a task."""


def outliving_loop(*, uv: bool = False) -> asyncio.AbstractEventLoop:
    """A new loop; uvloop's if requested and installed."""
    if uv:
        try:
            import uvloop
        except ImportError:
            return OutlivingLoop()
        return type("OutlivingUvLoop", (_Outliving, uvloop.Loop), {})()  # type: ignore[no-any-return]
    return OutlivingLoop()


def run(work: Coroutine[Any, Any, T], *, uv: bool = False, code: Callable[[T], int] = lambda found: 0) -> T:
    """Like `asyncio.run`, on a loop that survives such exceptions. If tasks or threads of application code do not end once the
    work is done, the process exits without them after `END_SECONDS`, with the `code` for what the work gave."""
    with asyncio.Runner(loop_factory=lambda: outliving_loop(uv=uv)) as runner:
        found = runner.run(work)
        last = threading.Timer(END_SECONDS, _leave_behind, [code(found)])
        last.daemon = True
        last.start()
    last.cancel()
    return found


def _leave_behind(code: int) -> None:
    _exit_now(code, f"application code does not end within {END_SECONDS:g} s")


def exit_after(seconds: float, why: str) -> None:
    """Exits with code 1 after so many seconds, unless the process has ended by then; also where its event loop hangs."""
    last = threading.Timer(seconds, _exit_now, [1, why])
    last.daemon = True
    last.start()


def _exit_now(code: int, why: str) -> None:
    log.warning("exiting although %s", why)
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(code)


def end_process(code: int = 0) -> None:
    """Exits this process immediately if threads of application code would keep Python from exiting; else does nothing."""
    left = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if left:
        _exit_now(code, f"threads run: {', '.join(t.name for t in left)[:300]}")
