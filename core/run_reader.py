"""Reads runs: by id, in lists, and their messages."""

from __future__ import annotations

from dataclasses import replace

from core.following.feed import stored_events
from core.principal import Principal
from core.refusals import not_found, unless_lost
from core.run_views import RunView, accepted_view, in_head, over_view
from core.thread_reader import ThreadReader
from schemas import MessageAdded, ThreadKey, is_id
from state import Journal

_LOOKS = 3
"""At a run that moves on while it is looked at."""
_PAGE = 500


class RunReader:
    """A run is known from the moment that it was promised, before any worker has read its record."""

    def __init__(self, journal: Journal, threads: ThreadReader) -> None:
        self._journal, self._threads = journal, threads

    async def get(self, principal: Principal, thread_id: str, run_id: str, *, hidden: bool = False) -> RunView:
        """A run as it stands. Raises `Refused` when the thread has none of this id, or a hidden one that is not asked for."""
        key = ThreadKey(principal.tenant_id, thread_id)
        for _ in range(_LOOKS):
            head = await self._threads.get(principal, thread_id)
            if not is_id(run_id):
                break
            accepted = await self._journal.accepted(*key, run_id=run_id)
            known = accepted[0] if accepted else None
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

    async def of_thread(self, principal: Principal, thread_id: str) -> list[RunView]:
        """The thread's runs, the newest first."""
        head = await self._threads.get(principal, thread_id)
        key = ThreadKey(principal.tenant_id, thread_id)
        accepted = {run.run_id: run for run in await self._journal.accepted(*key)}
        over = {run.run_id: run for run in await self._journal.runs(*key)}
        active = [head.run.run_id] if head.run else []
        found: dict[str, RunView] = {}
        for run_id in (*accepted, *(q.run_id for q in head.queued), *active):
            known = accepted.get(run_id)
            view = in_head(thread_id, head, run_id, known)
            if view is None and known and run_id not in over:
                view = await unless_lost(self.get(principal, thread_id, run_id))
            if view:
                found[run_id] = view
        shown = {run_id: run for run_id, run in over.items() if not run.hidden}
        found |= {run_id: over_view(thread_id, run, accepted.get(run_id)) for run_id, run in shown.items()}
        return sorted(found.values(), key=lambda view: (view.created_at, view.run_id), reverse=True)

    async def any_active(self, principal: Principal, thread_id: str) -> bool:
        """Whether a run of the thread is not over; one that nobody has read yet counts, one that begins later does not."""
        views = await self.of_thread(principal, thread_id)
        return any(view.status in ("pending", "running") and not view.delay for view in views)

    async def last_answer(self, principal: Principal, view: RunView) -> str:
        """The text of the run's last answer so far."""
        principal.require("read")
        key = ThreadKey(principal.tenant_id, view.thread_id)
        text, since = "", (view.first_event or 1) - 1
        while True:
            page = await self._journal.events(*key, since=since, limit=_PAGE)
            newest = page[-1].seq if page else since
            until = newest if view.last_event is None else min(newest, view.last_event)
            rows = [row for row in page if row.type == MessageAdded.TYPE and row.seq <= until]
            for event in stored_events(rows, key):
                if isinstance(event, MessageAdded) and event.run_id == view.run_id:
                    text = (event.message.role == "assistant" and event.message.text) or text
            if len(page) < _PAGE or until < newest:
                return text
            since = newest
