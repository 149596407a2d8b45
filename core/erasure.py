"""Erasure of a user or of a tenant: requested once, and done by the gateways, also after a crash, until nothing is left.

1. Access ends, so that nothing new comes: the user is blocked, or the tenant closed (`core/ends.py`).
2. Threads are deleted in their turns, a page at a time. A gateway looks again until none is left, also for threads that were made
   meanwhile.
3. The stores are emptied of what their holdings declare, and the user's or tenant's row goes last.
4. After 8 days, when no topic can have a record again, the traces go that repeats were known by.

What a user who is back has made since is not touched: nobody is added again before step 3 is done, and step 4 takes only what is
older than the end of step 3.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.audit_writer import AuditWriter
from core.due_timers import Timers, later, timer_of
from core.ends import Ends
from core.ingress import Ingress
from core.principal import Principal
from schemas import Action, CauceError, ChangeThread, Erasure, ThreadKey, derived_id
from schemas.common.clock import utc_now
from state import HOLDINGS, REPEATS, OwnedThread, Stores, Timer

log = logging.getLogger("cauce.gateway")

_PAGE = 200
"""Threads whose deletion is requested in one look."""
_LOOK_SECONDS, _SELDOM_SECONDS = 2.0, 30.0
_SOON = 600.0
"""Seconds after which an erasure that waits, for a worker or a server, is looked at seldom."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an erasure is."""

    threads: int
    """Threads that are not deleted yet."""
    stores_left: bool
    """Whether anything but traces is left in the stores; threads are deleted first."""

    @property
    def done(self) -> bool:
        """Whether nothing is left but the traces that go after 8 days."""
        return not self.threads and not self.stores_left


class Erasures:
    """Requests erasures, and says how far they are. Needs only the stores."""

    def __init__(self, stores: Stores, ends: Ends, trail: AuditWriter) -> None:
        self._stores, self._ends, self._trail = stores, ends, trail

    async def request(self, by: Principal, tenant_id: str, user_id: str | None = None) -> None:
        """Ends the access, and has everything erased that is kept of the user, or of the tenant with all its users.

        Can be repeated: it is one erasure. Raises `Missing` where there is no such tenant.
        """
        action = Action.TENANT_ERASED if user_id is None else Action.USER_ERASED
        await self._trail.write(by, action, tenant_id=tenant_id, user_id=user_id)
        if user_id is None:
            await self._ends.close(by, tenant_id, erasing=True)
        else:
            await self._ends.block(by, tenant_id, user_id, erasing=True)
        what = Erasure(user_id=user_id, began_at=utc_now())
        timer = timer_of(ThreadKey(tenant_id, ""), OWNER, _timer_id(tenant_id, user_id), what, utc_now())
        await self._stores.timers.put(timer)

    async def progress(self, by: Principal, tenant_id: str, user_id: str | None = None) -> Progress:
        """How far the erasure is."""
        by.require_over(tenant_id)
        left = await _left(self._stores, tenant_id, user_id)
        directory = self._stores.directory
        row = await (directory.tenant(tenant_id) if user_id is None else directory.user(tenant_id, user_id))
        return Progress(len(left), row is not None)


OWNER = ""
"""Whose timers of erasures are: those of the user who is erased go with the user."""


class DueErasures:
    """Does them. All gateways may do the same one at the same time: each step can be repeated."""

    def __init__(self, timers: Timers, stores: Stores, ingress: Ingress) -> None:
        self._timers, self._stores, self._ingress = timers, stores, ingress
        timers.on(Erasure.TYPE, self._erase)

    async def _erase(self, timer: Timer) -> datetime | None:
        what, now, tenant_id = Erasure.model_validate_json(timer.body), utc_now(), timer.tenant_id
        if what.done_at is not None:
            await self._sweep(tenant_id, what.user_id, what.done_at)
            return None
        if not await self._is_erased(tenant_id, what.user_id):
            return None  # done, perhaps by another gateway, and the user may be back
        if left := await _left(self._stores, tenant_id, what.user_id):
            for thread in left[:_PAGE]:
                # The same id for some seconds: gateways that look at the same time ask once.
                record_id = derived_id("erase", tenant_id, thread.thread_id, str(int(now.timestamp()) // 30))
                body = ChangeThread(user_id=thread.user_id or "nobody", action="delete")
                await self._ingress.produce(ThreadKey(tenant_id, thread.thread_id), record_id, body)
            waits = (now - what.began_at).total_seconds() > _SOON
            return later(timer, _SELDOM_SECONDS if waits else _LOOK_SECONDS)
        if not await self._empty(tenant_id, what.user_id, now):
            return later(timer, _SELDOM_SECONDS)
        swept = what.model_copy(update={"done_at": now})
        due = now + REPEATS + timedelta(hours=1)
        await self._timers.put(timer_of(ThreadKey(tenant_id, ""), OWNER, timer.timer_id, swept, due))
        erase = HOLDINGS["directory"].erase
        assert erase
        if await self._is_erased(tenant_id, what.user_id):
            await erase(self._stores.directory, tenant_id, what.user_id, now)
        return None

    async def _is_erased(self, tenant_id: str, user_id: str | None) -> bool:
        directory = self._stores.directory
        if user_id is None:
            tenant = await directory.tenant(tenant_id)
            return tenant is not None and tenant.erasing
        user = await directory.user(tenant_id, user_id)
        return user is not None and user.erasing

    async def _empty(self, tenant_id: str, user_id: str | None, now: datetime) -> bool:
        """Empties all stores but the directory, whose row says that there is something to erase. False where one could not be
        emptied, which the log names."""
        whole = True
        for name, holding in HOLDINGS.items():
            if holding.erase is None or name == "directory":
                continue
            if not await self._is_erased(tenant_id, user_id):
                return False
            try:
                if name == "timers" and user_id is None:
                    for user in await self._stores.timers.users(tenant_id):
                        if user != OWNER:
                            await self._stores.timers.erase(tenant_id, user)
                else:
                    await holding.erase(getattr(self._stores, name), tenant_id, user_id, now - REPEATS)
            except CauceError as error:
                log.warning("an erasure in %s has to wait for the store %s: %s", tenant_id, name, error)
                whole = False
        return whole

    async def _sweep(self, tenant_id: str, user_id: str | None, done_at: datetime) -> None:
        """Removes the traces of what was erased: threads and calls from before the end of the erasure. And what the trail of a
        tenant got since, unless the tenant is back."""
        gone = user_id is None and await self._stores.directory.tenant(tenant_id) is None
        for name in ("journal", "ledger", *(("audit",) if gone else ())):
            erase = HOLDINGS[name].erase
            assert erase
            await erase(getattr(self._stores, name), tenant_id, user_id, done_at + timedelta(seconds=1))


async def _left(stores: Stores, tenant_id: str, user_id: str | None) -> list[OwnedThread]:
    """Threads that are not deleted yet. Those that say nobody's belong to the tenant."""
    return [
        thread
        for thread in await stores.journal.owned(tenant_id)
        if thread.deleted_at is None and user_id in (None, thread.user_id)
    ]


def _timer_id(tenant_id: str, user_id: str | None) -> str:
    return derived_id("erasure", tenant_id, user_id or "")
