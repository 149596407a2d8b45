"""Conversations that go back to an earlier message and on from there. Pure functions on a draft.

The journal keeps every message; the head's forks say which of them are the conversation (`schemas.branches`).
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas import (
    MOST_FORKS,
    ChangeMessages,
    ContinueThread,
    GraphInput,
    Message,
    MessagesRemoved,
    PendingCall,
    ThreadHead,
    UserMessage,
    branch,
    forked,
    newest,
    within,
)
from threads.calls import settle_call
from threads.draft import Draft

WINDOW = 120
"""Newest messages of a thread that its turns have at hand; the model's budget is usually smaller."""
MOST_BACK = 1_000
"""How many messages, of all branches, a conversation can go back."""
LEFT_ASIDE = (
    "The user went back to before this call had its result, and continued from there. The call was not repeated; whether it "
    "was executed is not known here."
)


class CannotBeDone(Exception):
    """Why a conversation cannot be changed in this way, as text for the user."""


def needs_rows(head: ThreadHead, body: object) -> bool:
    """Whether this input may move the conversation to another branch."""
    if isinstance(body, UserMessage) and body.after is not None:
        return True
    if isinstance(body, UserMessage | GraphInput) and body.multitask_strategy == "rollback":
        return head.run is not None and head.run.forks_before is not None
    if isinstance(body, ContinueThread):
        return bool(head.queued) and head.queued[0].after is not None
    return isinstance(body, ChangeMessages)


def go_back(draft: Draft, after: int, *, run_id: str) -> None:
    """The next message follows the message `after`, on whatever branch it is; 0 is the beginning. Raises `CannotBeDone`.

    `draft.rows_known` has the newest messages.
    """
    head = draft.head
    if after == head.newest_message:
        return
    if after >= head.next_message:
        raise CannotBeDone(f"The thread has no message {after} to go back to.")
    forks, spans = forked(head.forks, head.next_message, after), head.branch
    if len(forks) > MOST_FORKS:
        raise CannotBeDone(f"The conversation went back {MOST_FORKS} times already; continue in a copy of the thread.")
    left = branch(forks, newest(forks, head.next_message))
    gone = [
        s.message.message_id
        for s in (*draft.rows_known, *draft.messages)
        if within(s.seq, spans) and not within(s.seq, left)
    ]
    draft.event(MessagesRemoved, run_id=run_id, message_ids=tuple(gone[-MOST_BACK:]), kept=True, after=after)
    draft.take_branch(WINDOW)


def go_back_for_run(draft: Draft, after: int) -> None:
    """Like `go_back`, for the run that starts. Calls without a result there get one, because providers reject a call
    without one, and nothing is done twice. Raises `CannotBeDone`."""
    run = draft.run
    go_back(draft, after, run_id=run.run_id)
    for call in open_calls(draft.history):
        settle_call(draft, call, LEFT_ASIDE, status="cancelled")


def stood_at(draft: Draft) -> int | None:
    """The number of the message that the conversation stood at before its run went back; None where it did not."""
    run = draft.head.run
    if run is None or run.forks_before is None:
        return None
    return newest(run.forks_before, draft.head.next_message)


def remove(draft: Draft, message_ids: tuple[str, ...], after: int | None) -> None:
    """Removes these messages of the run and, if it forked, the fork: the conversation ends at `after` again."""
    run = draft.run
    draft.event(MessagesRemoved, run_id=run.run_id, message_ids=message_ids, after=after)
    if after is not None:
        draft.take_branch(WINDOW)


def open_calls(history: Sequence[Message]) -> list[PendingCall]:
    """Calls of the newest answer that have no result."""
    answered = set()
    for message in reversed(history):
        if message.role == "tool":
            answered.add(message.call_id)
        else:
            return [PendingCall(call=c, state="running") for c in message.tool_calls if c.call_id not in answered]
    return []


def ends_with_an_answer(history: Sequence[Message]) -> bool:
    """Whether there is nothing for an agent to answer."""
    return not history or (history[-1].role == "assistant" and not history[-1].tool_calls)
