"""What runs in the threads of a blocked user, or of a closed tenant, ends: by records that cancel, so that workers stop what they
are at and open approvals are void."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from core.due_timers import Timers
from core.ends import CACHED
from core.ingress import Ingress
from schemas import CancelRun, EndRuns, ThreadKey, derived_id
from state import Directory, Journal, Stores, Timer


class EndedRuns:
    """Every gateway looks; a record that comes twice does no harm."""

    def __init__(self, timers: Timers, stores: Stores, ingress: Ingress) -> None:
        self._timers, self._ingress = timers, ingress
        self._journal: Journal = stores.journal
        self._directory: Directory = stores.directory
        timers.on(EndRuns.TYPE, self._end)

    async def _end(self, timer: Timer) -> datetime | None:
        what = EndRuns.model_validate_json(timer.body)
        if not await self._holds(timer.tenant_id, what.user_id):
            return None
        async for key, user_id in self._busy(timer.tenant_id, what.user_id):
            record_id = derived_id("x", *key, timer.timer_id, str(what.again))
            await self._ingress.produce(key, record_id, CancelRun(user_id=user_id))
        if not what.again:
            second = Timer(
                timer.tenant_id,
                timer.user_id,
                timer.timer_id,
                timer.kind,
                timer.due + CACHED,
                what.model_copy(update={"again": True}).to_bytes(),
            )
            await self._timers.put(second)
        return None

    async def _holds(self, tenant_id: str, user_id: str | None) -> bool:
        tenant = await self._directory.tenant(tenant_id)
        if tenant is None or user_id is None:
            return tenant is not None and tenant.state == "closed"
        user = await self._directory.user(tenant_id, user_id)
        return bool(user and user.blocked)

    async def _busy(self, tenant_id: str, user_id: str | None) -> AsyncIterator[tuple[ThreadKey, str]]:
        """Threads in which something runs or waits, with their users."""
        for thread in await self._journal.owned(tenant_id):
            if thread.deleted_at is not None or not thread.user_id or user_id not in (None, thread.user_id):
                continue
            key = ThreadKey(tenant_id, thread.thread_id)
            head = (await self._journal.hydrate(*key, window=0)).head
            if head and (head.run or head.queued or await self._journal.open_inputs(*key)):
                yield key, thread.user_id
