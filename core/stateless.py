"""Threads that are there for one run only: deleted when it is over."""

from __future__ import annotations

import asyncio
import logging

from core.principal import Principal
from core.refusals import AGAIN_SECONDS, Limited, Missing, Refused
from core.run_views import OVER
from core.runs import Runs
from core.threads import Threads
from schemas import ServerTrouble
from schemas.common.pools import Shares

log = logging.getLogger("cauce.gateway")


class StatelessThreads:
    """Waits for runs in the background, and deletes their threads.

    Best effort: what this process waits for is forgotten when it ends, and the thread stays, as any other of its user. It waits
    for some `most` runs at a time, of which each tenant and user has a share.
    """

    def __init__(self, runs: Runs, threads: Threads, *, most: int, seconds: float) -> None:
        """`seconds` is how long one look at a run may last; there is another after it."""
        self._runs, self._threads, self._seconds = runs, threads, seconds
        self._shares = Shares(most)
        self._waiting: set[asyncio.Task[None]] = set()

    def require_room(self, principal: Principal) -> None:
        """Raises `Limited` when as many runs of the user or of the tenant are waited for as may be. For before one is started:
        each that was is waited for."""
        if not self._shares.has_room(principal.tenant_id, principal.user_id):
            detail = (
                "Too many stateless runs of yours or of your tenant are active already; start more when some are over."
            )
            raise Limited("too_many_stateless_runs", detail, retry_after=AGAIN_SECONDS)

    def delete_after(self, principal: Principal, thread_id: str, run_id: str) -> None:
        """Has the thread deleted once the run is over, or waits for somebody."""
        whose = (principal.tenant_id, principal.user_id)
        self._shares.take(*whose)
        waiting = asyncio.create_task(self._delete(principal, thread_id, run_id), name="gateway-stateless")
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)
        waiting.add_done_callback(lambda _: self._shares.give(*whose))

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
