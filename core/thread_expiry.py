"""Threads whose time is up (`ttl`): deleted as a person deletes them, once nothing runs in them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from core.delayed import forget_runs
from core.due_timers import Timers, later, timer_of
from core.ingress import Ingress
from core.standing import is_busy
from schemas import ChangeThread, ServerTrouble, ThreadExpiry, ThreadKey, ThreadTtl, TtlStrategy, derived_id
from schemas.common.clock import utc_now
from state import Directory, Journal, Timer

log = logging.getLogger("cauce.gateway")

MOST_MINUTES = 100 * 366 * 24 * 60
_LOOK_SECONDS, _SELDOM_SECONDS = 10.0, 600.0
_ON_ITS_WAY = timedelta(days=8)
"""So long after a timer's time the thread may not say it yet: the change that says it is in Kafka, which keeps it for a week."""


def from_now(minutes: float, strategy: TtlStrategy) -> ThreadTtl:
    """The time to live of a thread, counted from now."""
    return ThreadTtl(strategy=strategy, minutes=minutes, expires_at=utc_now() + timedelta(minutes=minutes))


class Expiry:
    """Stores the timer before the expiry time in the thread, so that no thread has an expiry time without a timer. The thread's
    time is authoritative: a timer for an earlier time does nothing. The timer remains until the thread is deleted: the worker
    that processes the deletion skips a thread whose time was extended in the meantime, or that has an active run."""

    def __init__(self, timers: Timers, journal: Journal, directory: Directory, ingress: Ingress) -> None:
        self._timers, self._journal, self._directory, self._ingress = timers, journal, directory, ingress
        timers.on(ThreadExpiry.TYPE, self._expire)

    async def set(self, key: ThreadKey, user_id: str, ttl: ThreadTtl) -> None:
        """Has the thread looked at when its time is up. The caller then changes the thread."""
        await self._timers.put(_timer(key, user_id, ttl))

    async def forget(self, key: ThreadKey, user_id: str, ttl: ThreadTtl) -> None:
        """What the thread does not say any more, so that no timers pile up."""
        await self._timers.remove(_timer(key, user_id, ttl))

    async def gone(self, key: ThreadKey, user_id: str, ttl: ThreadTtl | None) -> None:
        """The thread is deleted: nothing of it is due any more. Best effort, what stays does nothing when its time comes."""
        try:
            if ttl:
                await self.forget(key, user_id, ttl)
            await forget_runs(self._timers, key, user_id)
        except ServerTrouble as error:
            log.info("timers of the deleted thread %s stay until they are due: %s", key, error)

    async def _expire(self, timer: Timer) -> datetime | None:
        what = ThreadExpiry.model_validate_json(timer.body)
        key = ThreadKey(timer.tenant_id, what.thread_id)
        if await self._directory.tenant(timer.tenant_id) is None:
            return None
        head = (await self._journal.hydrate(*key, window=0)).head
        if head and (head.deleted or head.user_id != timer.user_id):
            await forget_runs(self._timers, key, timer.user_id)
            return None
        again = _next_look(timer, what)
        if head is None or head.ttl is None or head.ttl.expires_at < what.expires_at:
            on_its_way = utc_now() < what.expires_at + _ON_ITS_WAY
            return again if on_its_way else None
        if head.ttl.expires_at > what.expires_at or head.ttl.strategy != "delete":
            return None
        if not await is_busy(self._journal, key):
            delete = ChangeThread(user_id=timer.user_id, action="delete", expired=what.expires_at)
            record_id = derived_id("expired", key, what.expires_at.isoformat(), timer.due.isoformat())
            await self._ingress.produce(key, record_id, delete)
        return again


def _next_look(timer: Timer, what: ThreadExpiry) -> datetime:
    """The longer the time is up, the later; of the timer alone, so that all who look at it put the same one."""
    late = (timer.due - what.expires_at).total_seconds()
    return later(timer, min(max(_LOOK_SECONDS, late), _SELDOM_SECONDS))


def _timer(key: ThreadKey, user_id: str, ttl: ThreadTtl) -> Timer:
    what = ThreadExpiry(thread_id=key.thread_id, expires_at=ttl.expires_at)
    return timer_of(key, user_id, derived_id("ttl", key.thread_id), what, ttl.expires_at)
