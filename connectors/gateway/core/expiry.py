"""Threads whose time is up (`ttl`): deleted as a person deletes them, once nothing runs in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from connectors.gateway.core.standing import is_busy
from connectors.gateway.core.timers import Timers, later, timer_of
from connectors.gateway.ingress import Ingress
from schemas import ChangeThread, ThreadExpiry, ThreadKey, ThreadTtl, TtlStrategy, derived_id
from state import Journal, Timer

MOST_MINUTES = 100 * 366 * 24 * 60
_LOOK_SECONDS = 10.0
_ON_ITS_WAY = timedelta(minutes=15)
"""So long after a timer's time the thread may not say it yet: the change that says it is in Kafka."""


def from_now(minutes: float, strategy: TtlStrategy) -> ThreadTtl:
    """The time to live of a thread of which it is said now."""
    return ThreadTtl(strategy=strategy, minutes=minutes, expires_at=datetime.now(UTC) + timedelta(minutes=minutes))


class Expiry:
    """The timer is stored before the thread says when its time is up, so that no thread says it in vain. What the thread says
    counts: a timer of a time before that does nothing."""

    def __init__(self, timers: Timers, journal: Journal, ingress: Ingress) -> None:
        self._timers, self._journal, self._ingress = timers, journal, ingress
        timers.on(ThreadExpiry.TYPE, self._expire)

    async def set(self, key: ThreadKey, user_id: str, ttl: ThreadTtl) -> None:
        """Has the thread looked at when its time is up. The caller then changes the thread."""
        await self._timers.put(_timer(key, user_id, ttl))

    async def forget(self, key: ThreadKey, user_id: str, ttl: ThreadTtl) -> None:
        """What the thread does not say any more, so that no timers pile up."""
        await self._timers.remove(_timer(key, user_id, ttl))

    async def _expire(self, timer: Timer) -> datetime | None:
        what = ThreadExpiry.model_validate_json(timer.body)
        key = ThreadKey(timer.tenant_id, what.thread_id)
        head = (await self._journal.hydrate(*key, window=0)).head
        if head and (head.deleted or head.user_id != timer.user_id):
            return None
        if head is None or head.ttl is None or head.ttl.expires_at < what.expires_at:
            on_its_way = datetime.now(UTC) < what.expires_at + _ON_ITS_WAY
            return later(timer, _LOOK_SECONDS) if on_its_way else None
        if head.ttl.expires_at > what.expires_at or head.ttl.strategy != "delete":
            return None
        if await is_busy(self._journal, key):
            return later(timer, _LOOK_SECONDS)
        delete = ChangeThread(user_id=timer.user_id, action="delete")
        await self._ingress.produce(key, derived_id("expired", key, what.expires_at.isoformat()), delete)
        return None


def _timer(key: ThreadKey, user_id: str, ttl: ThreadTtl) -> Timer:
    what = ThreadExpiry(thread_id=key.thread_id, expires_at=ttl.expires_at)
    return timer_of(key, user_id, derived_id("ttl", key.thread_id), what, ttl.expires_at)
