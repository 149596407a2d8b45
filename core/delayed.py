"""Delayed runs (`after_seconds`): promised immediately, started once, by whichever process sees that they are due."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta

from core.due_timers import Timers, later, timer_of
from core.ingress import Ingress
from core.refusals import Limited
from core.standing import is_busy, is_in
from schemas import (
    CancelRun,
    ChangeThread,
    DelayedRun,
    GraphInput,
    HeldInput,
    RunsThread,
    ThreadHead,
    ThreadKey,
    UserMessage,
    derived_id,
    new_id,
)
from state import Directory, Journal, Timer

log = logging.getLogger("cauce.gateway")

LONGEST_DELAY = timedelta(days=366)
_PAUSED_SECONDS = 60.0
_LOOK_SECONDS, _SELDOM_SECONDS = 2.0, 60.0
_OF_RUNS = (DelayedRun.TYPE, RunsThread.TYPE, HeldInput.TYPE)


async def forget_runs(timers: Timers, key: ThreadKey, user_id: str) -> None:
    """Removes the delayed and held runs of a thread that is gone: they would do nothing any more, and have its texts."""
    for timer in await timers.of_user(key.tenant_id, user_id):
        if timer.kind in _OF_RUNS and json.loads(timer.body).get("thread_id") == key.thread_id:
            await timers.remove(timer)


def _end_id(run_id: str) -> str:
    return f"{run_id}.end"


class DelayedRuns:
    """The run's input is kept by its timer, and produced with the run's own id: an input is taken once, however often its record
    is produced. A cancel before that is a record with the same id, and the first of the two counts."""

    def __init__(self, timers: Timers, journal: Journal, directory: Directory, ingress: Ingress, *, most: int) -> None:
        """`most`: delayed runs that a user may have."""
        self._timers, self._journal, self._directory, self._ingress = timers, journal, directory, ingress
        self._most = most
        timers.on(DelayedRun.TYPE, self._begin)
        timers.on(RunsThread.TYPE, self._end_thread)

    async def check(self, tenant_id: str, user_id: str) -> None:
        """Raises `Refused` where the user has as many as may be."""
        if await self._timers.count(tenant_id, user_id, DelayedRun.TYPE, most=self._most) >= self._most:
            detail = f"{self._most} runs of yours are delayed already; cancel some, or wait until they have started."
            raise Limited("too_many_delayed_runs", detail, retry_after=60)

    async def put(self, key: ThreadKey, run_id: str, body: UserMessage | GraphInput, begins_at: datetime) -> None:
        """Has the run begin at its time."""
        what = DelayedRun(thread_id=key.thread_id, run_id=run_id, input=body)
        await self._timers.put(timer_of(key, body.user_id, run_id, what, begins_at))

    async def cancel(
        self, key: ThreadKey, user_id: str, run_id: str, begins_at: datetime, *, rollback: bool = False
    ) -> None:
        """Keeps a run from starting, and cancels it if it has started in the meantime."""
        cancel = CancelRun(user_id=user_id, run_id=run_id, rollback=rollback, delayed=True)
        await self._ingress.produce(key, run_id, cancel)
        await self._ingress.produce(key, new_id("x"), cancel)
        await self._timers.remove(Timer(key.tenant_id, user_id, run_id, DelayedRun.TYPE, begins_at, b""))

    async def delete_thread_after(self, key: ThreadKey, user_id: str, run_id: str, begins_at: datetime) -> None:
        """Has the thread deleted once its run is over or waits, whichever process sees it."""
        what = RunsThread(thread_id=key.thread_id, run_id=run_id, begins_at=begins_at)
        await self._timers.put(timer_of(key, user_id, _end_id(run_id), what, begins_at))

    async def _begin(self, timer: Timer) -> datetime | None:
        due = DelayedRun.model_validate_json(timer.body)
        key = ThreadKey(timer.tenant_id, due.thread_id)
        tenant = await self._directory.tenant(timer.tenant_id)
        head = (await self._journal.hydrate(*key, window=0)).head
        if tenant is None or head is None or head.deleted or head.user_id != timer.user_id:
            log.info("the delayed run %s of %s does not begin: its thread is gone", due.run_id, key)
            return None
        # Inputs are remembered for some days; a timer that was left behind may be seen again after that.
        if is_in(head, due.run_id) or await self._journal.runs(*key, run_id=due.run_id):
            return None
        if tenant.state == "paused":
            return later(timer, _PAUSED_SECONDS)
        body: UserMessage | GraphInput | CancelRun = due.input
        user = await self._directory.user(timer.tenant_id, timer.user_id)
        if tenant.state == "closed" or (user and user.blocked):
            body = CancelRun(user_id=timer.user_id, run_id=due.run_id, delayed=True)
            await self._ingress.produce(key, due.run_id, body)
            return None
        if due.input.multitask_strategy == "reject" and await is_busy(self._journal, key, besides=due.run_id):
            # A worker comes to the record only when the active run is over.
            body = CancelRun(user_id=timer.user_id, run_id=due.run_id, delayed=True, rejected=True)
        if isinstance(body, UserMessage) and tenant.agent(body.agent_id) is None:
            log.warning("the delayed run %s of %s is cancelled: its agent is gone", due.run_id, key)
            body = CancelRun(user_id=timer.user_id, run_id=due.run_id, delayed=True)
        await self._ingress.produce(key, due.run_id, body)
        return None

    async def _end_thread(self, timer: Timer) -> datetime | None:
        ends = RunsThread.model_validate_json(timer.body)
        key = ThreadKey(timer.tenant_id, ends.thread_id)
        head = (await self._journal.hydrate(*key, window=0)).head
        if head is None or head.deleted or head.user_id != timer.user_id:
            return None
        active = is_in(head, ends.run_id) and head.condition != "approval"
        if active or not await self._is_known_to_end(key, head, ends.run_id):
            # Each look is a row that is gone again, and Cassandra reads past those: a run of hours is not looked at all the time.
            since = (timer.due - (ends.begins_at or timer.due)).total_seconds()
            return later(timer, min(max(_LOOK_SECONDS, since / 10), _SELDOM_SECONDS))
        delete = ChangeThread(user_id=timer.user_id, action="delete")
        await self._ingress.produce(key, derived_id("end", key, ends.run_id), delete)
        return None

    async def _is_known_to_end(self, key: ThreadKey, head: ThreadHead, run_id: str) -> bool:
        if is_in(head, run_id) or await self._journal.runs(*key, run_id=run_id):
            return True
        return not await self._journal.accepted(*key, run_id=run_id)  # else it is to come yet
