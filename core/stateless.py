"""Threads that are there for one run only: deleted when it is over."""

from __future__ import annotations

import asyncio
import logging

from core.principal import Principal
from core.refusals import Missing, Refused
from core.run_views import OVER
from core.runs import Runs
from core.threads import Threads
from schemas import ServerTrouble

log = logging.getLogger("cauce.gateway")


class StatelessThreads:
    """Waits for runs in the background, and deletes their threads.

    Best effort: what this process waits for is forgotten when it ends, and it waits for `most` runs at a time. The thread of
    a run that nobody waits for stays, as any other of its user.
    """

    def __init__(self, runs: Runs, threads: Threads, *, most: int, seconds: float) -> None:
        """`seconds` is how long one look at a run may last; there is another after it."""
        self._runs, self._threads, self._most, self._seconds = runs, threads, most, seconds
        self._waiting: set[asyncio.Task[None]] = set()

    def delete_after(self, principal: Principal, thread_id: str, run_id: str) -> None:
        """Has the thread deleted once the run is over, or waits for somebody."""
        if len(self._waiting) >= self._most:
            log.warning("thread %s of a stateless run stays: too many runs are waited for", thread_id)
            return
        waiting = asyncio.create_task(self._delete(principal, thread_id, run_id), name="gateway-stateless")
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

    async def stop(self) -> None:
        """Waits for nothing any more."""
        for waiting in self._waiting:
            waiting.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    async def _delete(self, principal: Principal, thread_id: str, run_id: str) -> None:
        lasting = principal.lasting()
        try:
            while True:
                view = await self._runs.wait(lasting, thread_id, run_id, seconds=self._seconds)
                if view.status in OVER or view.status == "paused":
                    break
            await self._threads.delete(lasting, thread_id)
        except (Refused, ServerTrouble) as error:
            if not isinstance(error, Missing):  # else somebody has deleted it before
                log.warning("thread %s of a stateless run stays: %s", thread_id, error)
