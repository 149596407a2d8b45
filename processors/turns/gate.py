"""What the state of a tenant and of its users does to the records of their threads: in a paused tenant they are held, in a closed
one, and for a blocked user, everything ends (docs/security.md, "What ends what")."""

from __future__ import annotations

from datetime import timedelta

from processors.settings_cache import UserCache
from processors.turns.new_inputs import STARTING, new_input
from schemas import (
    CancelRun,
    ChangeThread,
    ContinueThread,
    GraphInput,
    HeldInput,
    Record,
    Tenant,
    ThreadHead,
    ToolResult,
    derived_id,
)
from schemas.base import Body
from schemas.common.clock import Clock, utc_now
from state import Timer, TimerStore
from streams import Retry
from threads import graph_transitions, transitions
from threads.draft import Draft
from threads.transitions import Next

HELD_SECONDS = 10.0
"""After which a gateway looks whether what is held may continue."""


class Gate:
    """Asked for every record. What is held waits in a timer, not in the lane: however long a tenant is paused, no partition
    stands still for it."""

    def __init__(
        self, users: UserCache | None = None, timers: TimerStore | None = None, *, now: Clock = utc_now
    ) -> None:
        self._users, self._timers, self._now = users, timers, now

    def holds(self, tenant: Tenant, body: Body) -> bool:
        """Whether the record has to wait until the tenant is resumed. What ends something never has to; a tool's result is
        written down, and its run is held (`hold_run`)."""
        if tenant.state != "paused" or isinstance(body, CancelRun | ToolResult):
            return False
        return not _deletes(body)

    async def ended(self, tenant: Tenant, user_id: str, body: Body) -> str | None:
        """Why everything in the user's thread ends; None where it does not."""
        if _deletes(body):
            return None
        if tenant.state == "closed":
            return "The tenant is closed."
        user = await self._users.get(tenant.tenant_id, user_id) if self._users else None
        return "The user is blocked." if user and user.blocked else None

    async def hold(self, record: Record, head: ThreadHead | None) -> None:
        """Keeps the record until the tenant is resumed. However often it is redelivered, its input is taken once."""
        user_id = getattr(record.body, "user_id", None) or (head.user_id if head else "")
        await self._put(record.thread or ("", ""), user_id, record.envelope.id, record.body)

    async def hold_run(self, draft: Draft) -> None:
        """Has the active run continue when the tenant is resumed."""
        note = ContinueThread(run_id=draft.run.run_id)
        await self._put(
            draft.thread, draft.head.user_id, derived_id("on", draft.thread, note.run_id, draft.input_id), note
        )

    async def _put(self, key: tuple[str, str], user_id: str, record_id: str, body: Body) -> None:
        if self._timers is None:
            raise Retry(HELD_SECONDS, "the tenant is paused")
        tenant_id, thread_id = key
        kind: str = body.TYPE  # type: ignore[attr-defined]
        what = HeldInput(thread_id=thread_id, record_id=record_id, kind=kind, value=body.to_bytes().decode())
        due = self._now() + timedelta(seconds=HELD_SECONDS)
        timer_id = derived_id("held", thread_id, record_id)
        await self._timers.put(Timer(tenant_id, user_id, timer_id, HeldInput.TYPE, due, what.to_bytes()))


def _deletes(body: Body) -> bool:
    return isinstance(body, ChangeThread) and body.action == "delete"


def end_for_good(draft: Draft, record: Record, why: str) -> Next:
    """Ends what runs and what waits in the thread, and what the record asks for, where its user sees it."""
    body = record.body
    answers = isinstance(body, GraphInput) and graph_transitions.concerns_the_run(draft, body)
    transitions.end_all(draft, why)
    if isinstance(body, CancelRun):
        return transitions.on_cancel(draft, body) if body.delayed else Next.COMMIT
    if body.TYPE in STARTING and not answers:
        transitions.cancel_before_run(draft, new_input(record).run_id, why)
    elif not isinstance(body, ContinueThread | ToolResult) and not answers:
        return transitions.refuse(draft, why[:1].lower() + why[1:].rstrip("."))
    return Next.COMMIT
