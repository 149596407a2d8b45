"""Copies of threads: what one thread says and knows, in a new one, committed in one batch."""

from __future__ import annotations

from schemas import ChangeThread, ThreadChanged, ThreadHead
from state import Hydrated, Journal
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
    source = await journal.hydrate(tenant_id, source_id, window=MOST_ROWS)
    if source.head is None or source.head.deleted or source.head.user_id != change.user_id:
        return _refuse(draft, f"there is no thread {source_id!r}")
    if reason := _cannot(source.head):
        return _refuse(draft, reason)
    return await _copy(draft, source, source.head, journal, source_id)


async def _copy(draft: Draft, source: Hydrated, head: ThreadHead, journal: Journal, source_id: str) -> Next:
    tenant_id, last = draft.thread.tenant_id, head.next_row - 1
    rows = [*await journal.checkpoints(tenant_id, source_id, before=head.next_row, limit=MOST_ROWS)] if last else []
    rows += await journal.values(tenant_id, source_id, [(1, last)]) if last else []
    size = sum(len(row.body) for row in rows) + sum(len(m.message.text) for m in source.messages)
    if size > MOST_BYTES:
        return _refuse(draft, f"the thread has {size} bytes; one of more than {MOST_BYTES} cannot be copied")
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
    draft.messages = list(source.messages)
    draft.count_rows(head.next_row)
    draft.audit("thread.copy", actor=f"user:{head.user_id}", subject=source_id)
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
