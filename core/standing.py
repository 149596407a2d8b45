"""A thread's present state, including inputs that were accepted and have no turn in its journal yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from core.refusals import unless_lost
from schemas import ActiveRun, GraphRequest, Input, OpenInput, ThreadHead, ThreadKey
from schemas.common.clock import utc_now
from state import Hydrated, Journal


async def standing(journal: Journal, key: ThreadKey, *, window: int, max_bytes: int | None = None) -> Hydrated:
    """The thread with its newest messages; its head is as the open inputs will have it (`foreseen`)."""
    # A commit takes the row of its input away: rows that are read first are never missing beside an older head.
    opened = await journal.open_inputs(*key)
    while True:
        found = await journal.hydrate(*key, window=window, max_bytes=max_bytes)
        if found.head is None or not opened:
            return found
        journaled = await asyncio.gather(*(journal.outputs_of(*key, one.input_id) for one in opened))
        left = [one for one, outputs in zip(opened, journaled, strict=True) if outputs is None]
        if len(left) == len(opened):
            head = foreseen(found.head, left)
            return Hydrated(found.version, head, found.messages)
        opened = left  # the head may be of before the others


async def is_busy(journal: Journal, key: ThreadKey, *, besides: str | None = None) -> bool:
    """Whether a run of the thread, other than this one, is active or would be if a worker had come to it. One that begins later
    is not."""
    # Runs come into the journal when they leave the accepted ones behind: those are read first.
    known, now = await journal.accepted_ids(*key), utc_now()
    head = (await standing(journal, key, window=0)).head
    if head is None or head.deleted:
        return False
    if head.condition == "busy":
        return True
    over = await journal.ended(*key, known)
    for run_id in known:
        if run_id in over or run_id == besides or is_in(head, run_id):
            continue
        run = await unless_lost(journal.accepted(*key, run_id=run_id, details=False))
        begun = run is not None and (run.begins_at is None or run.begins_at <= now)
        if begun and await journal.outputs_of(*key, run_id) is None:
            return True
    return False


def is_in(head: ThreadHead, run_id: str) -> bool:
    """Whether the run is active in the thread, or queued there."""
    return bool(head.run and head.run.run_id == run_id) or any(q.run_id == run_id for q in head.queued)


def foreseen(head: ThreadHead, opened: Sequence[OpenInput]) -> ThreadHead:
    """The head as far as the inputs change it for sure: what they answer waits no more, what was begun is active."""
    for one in opened:
        run = head.run
        if run and run.run_id == one.run_id:
            if one.resumes and run.paused:
                head = head.model_copy(update={"run": run.model_copy(update={"paused": False, "interrupts": ()})})
            decided = tuple(
                p.model_copy(update={"state": "running"})
                if p.call.call_id in one.decides and p.state == "approval"
                else p
                for p in head.pending
            )
            head = head.model_copy(update={"pending": decided})
        elif one.begun and (run is None or head.condition == "approval"):
            head = _begun(head, one)
    return head


def _begun(head: ThreadHead, one: OpenInput) -> ThreadHead:
    begun = Input(
        input_id=one.input_id,
        run_id=one.run_id,
        user_id=one.user_id,
        agent_id=one.agent_id,
        at=one.at,
        graph=GraphRequest(graph=one.graph) if one.graph else None,
    )
    run = ActiveRun.of(begun, one.at, first_message=head.next_message)
    queued = tuple(waiting for waiting in head.queued if waiting.run_id != one.run_id)
    named = {"agent_id": head.agent_id or one.agent_id, "graph": one.graph or head.graph}
    return head.model_copy(update={"run": run, "queued": queued, "pending": (), **named})
