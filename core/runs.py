"""Runs of a principal: started, waited for, cancelled."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from core.agents import Agents
from core.changes import Changes
from core.costs import spend
from core.delayed import DelayedRuns
from core.following.thread_stream import ThreadStreams
from core.ingress import Ingress, promised
from core.permissions import Operation, require, require_run
from core.principal import Principal
from core.refusals import Conflict, Invalid, Limited, checked, known_time_zone, unless_lost
from core.reserved_names import check_metadata
from core.run_reader import RunReader
from core.run_views import OVER, NewRun, RunStatus, RunView, accepted_view, in_head
from core.thread_reader import ThreadReader
from schemas import (
    MAX_METADATA,
    QUEUED_BYTES,
    TERMINAL_TYPES,
    AcceptedRun,
    CancelRun,
    ChangeThread,
    GraphInput,
    RunPaused,
    ThreadEvent,
    ThreadHead,
    ThreadKey,
    UserMessage,
    new_id,
    own_id,
)
from schemas.common.clock import utc_now
from schemas.ids import derived_uuid, sortable_uuid
from state import Journal

_LOOK_SECONDS = 2.0
_CONCURRENT = 20
"""Threads whose runs are read at a time."""
THREADS_LOOKED_AT = 1_000
"""The last changed ones, where runs of all threads are to be cancelled."""


class Runs(RunReader):
    """Runs, started and ended: each is a record of its thread."""

    def __init__(
        self,
        journal: Journal,
        ingress: Ingress,
        changes: Changes,
        threads: ThreadReader,
        agents: Agents,
        streams: ThreadStreams,
        delayed: DelayedRuns,
    ) -> None:
        super().__init__(journal, threads)
        self._ingress, self._changes = ingress, changes
        self._agents, self._streams, self._delayed = agents, streams, delayed

    async def start(
        self,
        principal: Principal,
        thread_id: str,
        new: NewRun,
        *,
        head: ThreadHead | None = None,
    ) -> tuple[RunView, int]:
        """Accepts a message of an existing thread. Returns its run, and the number of the thread's last event before it.

        `head` is the thread where the caller has just read it. The same `idempotency_key` twice is one run; raises `Refused`
        422 when the message differs.
        """
        head = head or await self._threads.get(principal, thread_id)
        run_id = self._run_id(principal, thread_id, new.idempotency_key)
        if len(json.dumps(dict(new.metadata))) > MAX_METADATA:
            raise Invalid("invalid", f"metadata: the metadata of a run may have {MAX_METADATA:,} characters as JSON.")
        new = await self._agents.prepared(principal, replace(new, message_id=_message_id(new, run_id)))
        require_run(principal, new, head)
        if new.graph is not None:
            check_metadata(new.metadata, principal)
        await spend("run")
        body, begins_at = _body(principal, run_id, new), None
        if new.delay:
            await self._delayed.check(principal.tenant_id, principal.user_id)
            begins_at = utc_now() + new.delay
        elif (
            new.multitask_strategy == "enqueue" and head.queued_bytes + len(body.to_bytes()) > QUEUED_BYTES and head.run
        ):
            detail = f"{len(head.queued)} large messages wait in this thread already; try again when some are answered."
            raise Limited("queue_full", detail)
        repeated = False
        if new.idempotency_key is not None:
            digest = hashlib.sha256(body.to_bytes()).hexdigest()
            if known := await self._journal.accepted(principal.tenant_id, thread_id, run_id=run_id):
                if known.details.get("digest") != digest:
                    detail = "This Idempotency-Key was used for another message."
                    raise Invalid("idempotency_mismatch", detail)
                repeated, begins_at = True, known.begins_at
            new = replace(new, details={**new.details, "digest": digest})
        accepted = AcceptedRun(
            run_id=run_id,
            user_id=principal.user_id,
            agent_id=new.agent_id,
            kind=new.kind,
            graph=new.graph.graph if new.graph else "",
            at=utc_now(),
            begins_at=begins_at,
            multitask_strategy=new.multitask_strategy,
            metadata=dict(new.metadata),
            details=dict(new.details),
        )
        key = ThreadKey(principal.tenant_id, thread_id)
        record = self._ingress.record(key, run_id, body)  # what is too large is refused before it is promised
        async with promised(self._journal, key, accepted, repeated=repeated):
            if begins_at:
                await self._delayed.put(key, run_id, body, begins_at)
            else:
                await self._ingress.send_input(record)
        if repeated:
            view = await self.get(principal, thread_id, run_id)
            return view, (view.first_event or head.next_event) - 1
        return accepted_view(thread_id, accepted), head.next_event - 1

    async def known(self, principal: Principal, thread_id: str, idempotency_key: str) -> RunView | None:
        """The run that was started under this key; None when there is none, or its promise has expired."""
        run_id = self._run_id(principal, thread_id, idempotency_key)
        head = await self._threads.get(principal, thread_id)
        accepted = await self._journal.accepted(principal.tenant_id, thread_id, run_id=run_id)
        found = accepted or in_head(thread_id, head, run_id, None)
        return await self.get(principal, thread_id, run_id) if found else None

    async def wait(
        self, principal: Principal, thread_id: str, run_id: str, *, seconds: float, since: int | None = None
    ) -> RunView:
        """The run once it is over or paused, or as it stands so many seconds after it could begin.

        A pause up to event `since` is past.
        A run whose answer was accepted is not paused any more.
        """
        view = await self.get(principal, thread_id, run_id)
        if view.status in OVER or (view.status == "paused" and since is None):
            return view
        start = view.as_of if since is None else since
        items = self._streams.of(principal, thread_id, heartbeat=_LOOK_SECONDS).items(start)
        deadline = time.monotonic() + view.delay + seconds
        try:
            async for item in items:
                if isinstance(item, ThreadEvent) and item.run_id == run_id and _stops(item):
                    view = await self.get(principal, thread_id, run_id)
                    if view.status in OVER or view.status == "paused":
                        return view
                if time.monotonic() > deadline:
                    break
        finally:
            await items.aclose()  # type: ignore[attr-defined]  # it is a generator
        return await self.get(principal, thread_id, run_id)

    async def cancel(self, principal: Principal, thread_id: str, run_id: str, *, rollback: bool = False) -> None:
        """Asks for the end of a run; one that is over stays as it is. `rollback` takes back what it has written, too."""
        require(principal, Operation.CHANGE_THREAD)
        view = await self.get(principal, thread_id, run_id)
        if view.status not in OVER:
            key = ThreadKey(principal.tenant_id, thread_id)
            if at := view.begins_at:
                await self._delayed.cancel(key, principal.user_id, run_id, at, rollback=rollback)
                return
            await self._ingress.produce(
                key, new_id("x"), CancelRun(user_id=principal.user_id, run_id=run_id, rollback=rollback)
            )

    async def hide(self, principal: Principal, thread_id: str, run_id: str) -> None:
        """Takes a run that is over out of the lists; what it did stays. Raises `Refused` 409 for one that is not over."""
        require(principal, Operation.CHANGE_THREAD)
        if (await self.get(principal, thread_id, run_id)).status not in OVER:
            raise Conflict("run_not_over", "The run is not over; cancel it first.")
        head = await self._threads.get(principal, thread_id)
        body = ChangeThread(user_id=principal.user_id, action="update", hide_run=run_id)
        await self._changes.done(principal, thread_id, head, body)

    async def cancel_many(
        self,
        principal: Principal,
        *,
        thread_id: str | None,
        run_ids: Sequence[str] | None,
        statuses: Sequence[RunStatus],
        rollback: bool,
    ) -> int:
        """Asks for the ends of runs: those of these ids, or all that stand so, of one thread or of the principal's newest.

        Returns how many there were. Unknown ids, and runs that are over, are none.
        """
        require(principal, Operation.CHANGE_THREAD)
        if thread_id is not None:
            threads = [thread_id]
        else:
            places = await self._journal.places(principal.tenant_id, principal.user_id, limit=THREADS_LOOKED_AT)
            threads = [place.thread_id for place in places]
        found = 0
        for n in range(0, len(threads), _CONCURRENT):
            cancels = (
                self._cancel_in(principal, one, run_ids, statuses, rollback) for one in threads[n : n + _CONCURRENT]
            )
            done = await asyncio.gather(*(cancels if thread_id is not None else (unless_lost(one) for one in cancels)))
            found += sum(one or 0 for one in done)
        return found

    async def _cancel_in(
        self,
        principal: Principal,
        thread_id: str,
        run_ids: Sequence[str] | None,
        statuses: Sequence[RunStatus],
        rollback: bool,
    ) -> int:
        found = 0
        async for view in self.unfinished(principal, thread_id):
            if view.status in statuses if run_ids is None else view.run_id in run_ids:
                await self.cancel(principal, thread_id, view.run_id, rollback=rollback)
                found += 1
        return found

    @staticmethod
    def _run_id(principal: Principal, thread_id: str, idempotency_key: str | None) -> str:
        if idempotency_key is None:
            return sortable_uuid()
        return derived_uuid(principal.tenant_id, principal.user_id, thread_id, idempotency_key)


def _stops(event: ThreadEvent) -> bool:
    return event.TYPE in TERMINAL_TYPES or isinstance(event, RunPaused)


def _message_id(new: NewRun, run_id: str) -> str:
    """The client's id of the message, or what always follows from it where it cannot be one here."""
    return own_id("msg", new.message_id) if new.message_id else run_id


def _body(principal: Principal, run_id: str, new: NewRun) -> UserMessage | GraphInput:
    common: dict[str, Any] = {
        "user_id": principal.user_id,
        "run_id": run_id,
        "agent_id": new.agent_id,
        "multitask_strategy": new.multitask_strategy,
        "metadata": dict(new.metadata),
    }
    if new.graph is not None:
        return checked(GraphInput, request=new.graph, **common)
    message_id = new.message_id if new.message_id != run_id else None  # it gets the run's
    if new.time_zone is not None:
        known_time_zone(new.time_zone)
    return checked(
        UserMessage, text=new.text, message_id=message_id, after=new.after, time_zone=new.time_zone, **common
    )
