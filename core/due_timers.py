"""What is due at a time happens. Every gateway looks, and what a timer does has one effect, however many of them do it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from core.refusals import Limited
from schemas import ServerTrouble, ThreadKey
from schemas.base import Body
from schemas.common.clock import utc_now
from schemas.common.serving import ItemFailures, ServingTask, is_order
from schemas.common.turns import serve
from state import Timer, TimerStore

log = logging.getLogger("cauce.gateway")

Fires = Callable[[Timer], Awaitable[datetime | None]]
"""Does what a timer is for. Returns when it is due again, None for never: the same time whoever does it, so that two who do it at
the same time put one timer (`later`). Raises `Unavailable` where it could not be done and is to be tried at the next look."""

_CONCURRENT = 20
_MOST_WAITING = 200
"""Timers of one look that have to wait for a server, after which it is away for all."""
FAILED_SECONDS = 60.0
"""A timer that fails is due again then, and holds nothing else up."""


def timer_of(key: ThreadKey, user_id: str, timer_id: str, what: Body, due: datetime) -> Timer:
    """A timer of a thread's user, whose body (`schemas/timer_bodies.py`) says what is due."""
    return Timer(key.tenant_id, user_id, timer_id, what.TYPE, due, what.to_bytes())  # type: ignore[attr-defined]


def later(timer: Timer, seconds: float, *, now: datetime | None = None) -> datetime:
    """The first time after now that is a whole number of these steps after the timer's: the same for everybody who asks within a
    step."""
    behind = ((now or utc_now()) - timer.due).total_seconds()
    return timer.due + timedelta(seconds=seconds * max(1, math.floor(behind / seconds) + 1))


def _name(timer: Timer) -> tuple[str, str, datetime]:
    return timer.tenant_id, timer.timer_id, timer.due


class Timers:
    """Looks for timers that are due, and does what they are for."""

    def __init__(self, store: TimerStore, *, every: float) -> None:
        """`every`: seconds between two looks. What this process puts happens on time."""
        self._store, self._every = store, every
        self._fires: dict[str, Fires] = {}
        self._look = asyncio.Event()
        self._looking = ServingTask("the executing of what is due", self._run)
        self._failures = ItemFailures("the executing of what is due")
        self._away = False

    def on(self, kind: str, fires: Fires) -> None:
        """Says what timers of a kind are for."""
        self._fires[kind] = fires

    async def start(self) -> None:
        """Begins to look."""
        self._looking.start()

    async def stop(self) -> None:
        """Looks no more. What is under way is done by the next who looks."""
        await self._looking.stop()

    async def put(self, timer: Timer) -> None:
        """Stores a timer; when this returns, it will happen."""
        await self._store.put(timer)
        seconds = (timer.due - utc_now()).total_seconds()
        if seconds < self._every:
            asyncio.get_running_loop().call_later(max(seconds, 0.0) + 0.001, self._look.set)

    async def remove(self, timer: Timer) -> None:
        """Removes a timer, unless somebody is executing it already."""
        await self._store.remove(timer)

    async def of_user(self, tenant_id: str, user_id: str) -> list[Timer]:
        """All timers of a user."""
        return await self._store.of_user(tenant_id, user_id)

    async def count(self, tenant_id: str, user_id: str, kind: str, *, most: int) -> int:
        """How many timers of a kind a user has, up to `most`."""
        return await self._store.count(tenant_id, user_id, kind, most=most)

    async def _run(self) -> None:
        while True:
            try:
                await self.fire_due()
                self._away = False
            except ServerTrouble as error:
                if not self._away:
                    log.warning("what is due has to wait: %s", error)
                self._away = True
            except BaseException as error:
                if is_order(error):
                    raise
                log.exception("looking for what is due failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), self._every)
            self._look.clear()

    async def fire_due(self) -> None:
        """Does all that is due. What has to wait for a server holds nothing up; in the end `ServerTrouble` is raised for it."""
        waits: dict[tuple[str, str, datetime], Exception] = {}
        while True:
            limit = len(waits) + _CONCURRENT
            found = await self._store.due(utc_now(), limit=limit)
            new = [timer for timer in found if _name(timer) not in waits]
            done = await asyncio.gather(*(self._fire_or_wait(timer) for timer in new))
            for timer, failed in zip(new, done, strict=True):
                if failed:
                    waits[_name(timer)] = failed
            if len(found) < limit or len(waits) >= _MOST_WAITING:
                break
        for first in waits.values():
            raise first

    async def _fire(self, timer: Timer) -> None:
        serve(timer.tenant_id, timer.user_id)
        try:
            if (fires := self._fires.get(timer.kind)) is None:
                raise LookupError("this version knows no timer of this kind")
            again = await fires(timer)
        except ServerTrouble:
            raise
        except Limited as refused:
            log.info("the timer %s of %s/%s waits: %s", timer.timer_id, timer.tenant_id, timer.user_id, refused.detail)
            again = later(timer, FAILED_SECONDS)
        except Exception:
            log.exception("the timer %s (%s) of %s failed", timer.timer_id, timer.kind, timer.tenant_id)
            again = later(timer, FAILED_SECONDS)
        if again is not None:
            await self._store.put(replace(timer, due=again))
        await self._store.remove(timer)

    async def _fire_or_wait(self, timer: Timer) -> Exception | None:
        """What kept the timer from being executed or put off, if something did. It stands in the way of no other."""
        try:
            await self._fire(timer)
        except ServerTrouble as error:
            return error
        except BaseException as error:
            if is_order(error):
                raise
            self._failures.note(f"the timer {timer.timer_id} ({timer.kind}) of {timer.tenant_id}", error)
            return ServerTrouble(f"the timer {timer.timer_id} can be neither executed nor put off")
        return None
