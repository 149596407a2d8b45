"""Reads runs: by id, in lists, and their messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from core.following.feed import stored_events
from core.permissions import Operation, require
from core.principal import Principal
from core.refusals import not_found, unless_lost
from core.run_views import OVER, RunView, accepted_view, in_head, over_view
from core.thread_reader import ThreadReader
from schemas import MessageAdded, ThreadKey, is_id
from state import Journal

_LOOKS = 3
"""At a run that moves on while it is looked at."""
_PAGE = 500
LOOKED_AT = 2_000
"""Accepted runs of a thread, those that may begin last, among which those are looked for that no worker has read: records of a
thread are read in order, so that what is before them was read, too. Twice as many as a user may have delayed."""


@dataclass(frozen=True, slots=True)
class RunPlace:
    """How far a list of runs has come: past so many that are not over, or to the end of one that is over."""

    open: int = 0
    ended: int | None = None
    """The number of its last event; None before the first of them."""


BEGINNING = RunPlace()


class RunReader:
    """A run is known from the moment that it was promised, before any worker has read its record."""

    def __init__(self, journal: Journal, threads: ThreadReader) -> None:
        self._journal, self._threads = journal, threads

    async def get(
        self, principal: Principal, thread_id: str, run_id: str, *, hidden: bool = False, details: bool = True
    ) -> RunView:
        """A run as it stands. Raises `Refused` when the thread has none of this id, or a hidden one that is not asked for."""
        key = ThreadKey(principal.tenant_id, thread_id)
        for _ in range(_LOOKS):
            head = await self._threads.get(principal, thread_id)
            if not is_id(run_id):
                break
            known = await self._journal.accepted(*key, run_id=run_id, details=details)
            if found := in_head(thread_id, head, run_id, known):
                return replace(found, as_of=head.next_event - 1)
            if over := await self._journal.runs(*key, run_id=run_id):
                if over[0].hidden and not hidden:
                    break
                return over_view(thread_id, over[0], known)
            if known is None:
                break
            view = replace(accepted_view(thread_id, known), as_of=head.next_event - 1)
            if await self._journal.outputs_of(*key, run_id) is None:
                return view
            # It has come to the thread since the head was read; or it waits while the run that replaces it is active.
            view = replace(view, status="paused")
        else:
            return view
        raise not_found("run", run_id)

    async def listed(
        self, principal: Principal, thread_id: str, after: RunPlace = BEGINNING
    ) -> AsyncGenerator[tuple[RunPlace, RunView]]:
        """The thread's runs without their details: those that are not over, then the others by their ends, the newest first.

        Each comes with the place after it, where a list continues. Only a page of them is in memory at a time. A run that ends
        while it is listed comes once; one that ends between two pages may be in both.
        """
        key, listed = ThreadKey(principal.tenant_id, thread_id), set[str]()
        if after.ended is None:
            waiting = (await self._open(principal, thread_id))[after.open :]
            for n, run_id in enumerate(waiting, after.open + 1):
                view = await unless_lost(self.get(principal, thread_id, run_id, details=False))
                if view:
                    listed.add(run_id)
                    yield RunPlace(n), view
        else:
            await self._threads.get(principal, thread_id)
        before = after.ended
        while True:
            page = await self._journal.runs(*key, before=before)
            shown = [run for run in reversed(page) if not run.hidden and run.run_id not in listed]
            known = {run.run_id: run for run in await self._journal.promises(*key, [run.run_id for run in shown])}
            for run in shown:
                yield RunPlace(0, run.last_event), over_view(thread_id, run, known.get(run.run_id))
            if page.next is None:
                return
            before = page.next

    async def unfinished(self, principal: Principal, thread_id: str) -> AsyncGenerator[RunView]:
        """The thread's runs that are not over, without their details, the newest first; one that nobody has read yet is one."""
        for run_id in await self._open(principal, thread_id):
            view = await unless_lost(self.get(principal, thread_id, run_id, details=False))
            if view and view.status not in OVER:
                yield view

    async def any_active(self, principal: Principal, thread_id: str) -> bool:
        """Whether a run of the thread is not over; one that nobody has read yet counts, one that begins later does not."""
        async with aclosing(self.unfinished(principal, thread_id)) as views:
            async for view in views:
                if view.status in ("pending", "running") and not view.delay:
                    return True
        return False

    async def _open(self, principal: Principal, thread_id: str) -> list[str]:
        """Ids of the runs that are not over, the newest first."""
        head = await self._threads.get(principal, thread_id)
        key = ThreadKey(principal.tenant_id, thread_id)
        known = await self._journal.accepted_ids(*key, limit=LOOKED_AT)
        there = [*(q.run_id for q in reversed(head.queued)), *([head.run.run_id] if head.run else [])]
        coming = [run_id for run_id in known if run_id not in there]
        over = await self._journal.ended(*key, coming)
        return [*(run_id for run_id in coming if run_id not in over), *there]

    async def last_answer(self, principal: Principal, view: RunView) -> str:
        """The text of the run's last answer so far."""
        require(principal, Operation.READ)
        key = ThreadKey(principal.tenant_id, view.thread_id)
        text, since = "", (view.first_event or 1) - 1
        while True:
            page = await self._journal.events(*key, since=since, limit=_PAGE)
            until = view.last_event or page.next or (page[-1].seq if page else since)
            rows = [row for row in page if row.type == MessageAdded.TYPE and row.seq <= until]
            for event in stored_events(rows, key):
                if isinstance(event, MessageAdded) and event.run_id == view.run_id:
                    text = (event.message.role == "assistant" and event.message.text) or text
            if page.next is None or (view.last_event and view.last_event <= page.next):
                return text
            since = page.next
