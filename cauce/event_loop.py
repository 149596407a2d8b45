"""The event loops of processes that run code of others, and the end of such a process.

asyncio ends a loop, and with it the process, when any task raises `SystemExit` or `KeyboardInterrupt`: one `sys.exit` in a
node of a graph would end the runs of everybody. On these loops the task has its exception, and everything else goes on.
Signals are handled (`loop.add_signal_handler`), so nobody who may ask for the process's end does so by these exceptions.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

log = logging.getLogger("cauce")
T = TypeVar("T")

END_SECONDS = 5.0
"""For what is left when everything of ours was closed."""


class _Outliving:
    """What a loop's `run_forever` and `run_until_complete` do beside their own."""

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
                log.error("%r in a task of foreign code; this process continues", error, exc_info=error)
            else:
                if self._main is None:
                    return
            if self._main is None or self._main.done():
                return


class OutlivingLoop(_Outliving, asyncio.SelectorEventLoop):
    """asyncio's loop, which survives what ends others."""


def outliving_loop(*, uv: bool = False) -> asyncio.AbstractEventLoop:
    """A new loop; of uvloop's kind where that is asked for and can be had."""
    if uv:
        try:
            import uvloop
        except ImportError:
            return OutlivingLoop()
        return type("OutlivingUvLoop", (_Outliving, uvloop.Loop), {})()  # type: ignore[no-any-return]
    return OutlivingLoop()


def run(work: Coroutine[Any, Any, T], *, uv: bool = False) -> T:
    """As `asyncio.run`, on an outliving loop. Where tasks or threads of somebody else's refuse to end once the work is done, the
    process ends without them after `END_SECONDS`."""
    with asyncio.Runner(loop_factory=lambda: outliving_loop(uv=uv)) as runner:
        found = runner.run(work)
        last = threading.Timer(END_SECONDS, _leave_behind)
        last.daemon = True
        last.start()
    last.cancel()
    return found


def _leave_behind() -> None:
    _exit_now(0, f"code of somebody else's does not end within {END_SECONDS:g} s")


def _exit_now(code: int, why: str) -> None:
    log.warning("ending although %s", why)
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(code)


def end_process(code: int = 0) -> None:
    """Ends this process now where threads of somebody else's would keep Python from ending it; else does nothing."""
    left = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if left:
        _exit_now(code, f"threads run: {', '.join(t.name for t in left)[:300]}")
