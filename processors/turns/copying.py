"""Copies of threads: what one thread says and knows, in a new one, committed in one batch."""

from __future__ import annotations

from typing import Any

from schemas import Action, ChangeThread, ThreadChanged, ThreadHead, TooLarge
from state import Journal
from threads.draft import Draft
from threads.transitions import Next, refuse

MOST_ROWS = 2_000
"""Messages and rows of a graph's state, since they go into one batch."""
MOST_BYTES = 4_000_000
"""Bytes of these messages and rows."""


async def copy_thread(draft: Draft, change: ChangeThread, journal: Journal) -> Next:
    """Makes the draft's thread, which is new, a copy of the one that the user names; or says why it cannot be one.

    An active run is not copied, nor what it has not committed. The copy of a paused graph stands where
    it stopped.
    """
    if draft.base.head is not None:
        return refuse(draft, "the thread exists")
    tenant_id, source_id = draft.thread.tenant_id, str(change.source_thread)
    source = await journal.hydrate(tenant_id, source_id, window=0)
    if source.head is None or source.head.deleted or source.head.user_id != change.user_id:
        return _refuse(draft, f"there is no thread {source_id!r}")
    if reason := _cannot(source.head):
        return _refuse(draft, reason)
    try:
        return await _copy(draft, source.head, journal, source_id)
    except TooLarge:
        return _refuse(draft, f"the thread has more than {MOST_BYTES} bytes, and such a thread cannot be copied")


async def _copy(draft: Draft, head: ThreadHead, journal: Journal, source_id: str) -> Next:
    key, last = (draft.thread.tenant_id, source_id), head.next_row - 1
    # What is below the numbers of this head was there with it, and is not changed.
    bounds: dict[str, Any] = {"limit": MOST_ROWS + 1, "max_bytes": MOST_BYTES}
    spans = head.branch if head.forks else None
    messages = await journal.messages(*key, before=head.next_message, spans=spans, **bounds)
    rows = list(checkpoints := await journal.checkpoints(*key, before=head.next_row, **bounds)) if last else []
    if messages.next is not None or (last and checkpoints.next is not None):
        raise TooLarge("not all of it was read")
    left = MOST_BYTES - sum(len(row.body) for row in rows) - sum(len(m.message.text) for m in messages)
    rows += await journal.values(*key, [(1, last)], max_bytes=left) if last else []
    draft.rows = tuple(sorted(rows, key=lambda row: row.seq))
    draft.event(
        ThreadChanged,
        run_id=draft.input_id,
        action="copy",
        input_id=draft.input_id,
        title=head.title,
        metadata=head.metadata,
        agent_id=head.agent_id,
        graph=head.graph,
        next_message=head.next_message,
    )
    draft.messages = list(messages)
    draft.count_rows(head.next_row)
    draft.audit(Action.THREAD_COPIED, actor=f"user:{head.user_id}", subject=source_id)
    return Next.COMMIT


def _cannot(head: ThreadHead) -> str:
    """Why a thread cannot be copied; empty when it can."""
    if (count := head.next_message + head.next_row - 2) > MOST_ROWS:
        return f"the thread has {count} messages and rows of state; one of more than {MOST_ROWS} cannot be copied"
    if head.run and head.run.kind == "agent":
        return "a run of its agent is active; the thread can be copied when it is over"
    return ""


def _refuse(draft: Draft, reason: str) -> Next:
    """Rejects the input that was to create the new thread."""
    return refuse(draft, reason, no_thread=True)
