"""Changes of what an agent's conversation says, as LangGraph's `add_messages` makes them. Pure functions on a draft."""

from __future__ import annotations

from collections.abc import Sequence

from schemas import Action, ChangeMessages, GivenMessage, Message, MessageAdded, StateUpdated, StoredMessage, within
from threads.draft import Draft
from threads.forks import CannotBeDone, go_back
from threads.transitions import Next, refuse

MOST_CHANGED = 400_000
"""Characters that one change of a conversation may write: of the messages that it gives, and of those that come after."""


def on_change_messages(draft: Draft, change: ChangeMessages) -> Next:
    """The user changes the messages of the conversation."""
    head = draft.head
    if head.deleted:
        return refuse(draft, "the thread was deleted")
    if head.run or head.queued:
        return refuse(draft, "a run of the thread is not over; wait for its end, or cancel it")
    if head.graph:
        return refuse(draft, f"the thread's state is that of the graph {head.graph!r}")
    before = draft.head, draft.base
    try:
        change_messages(draft, change)
    except CannotBeDone as error:
        draft.take_back(*before)
        return refuse(draft, str(error).rstrip("."))
    return Next.COMMIT


def change_messages(draft: Draft, change: ChangeMessages) -> None:
    """Writes what the user changed, on a branch of its own where it is not the end alone. Raises `CannotBeDone`.

    The messages after the first one that is changed are written again, so that the order of a branch is that of its numbers.
    """
    if change.after is not None:
        go_back(draft, change.after, run_id=draft.input_id)
    before = [s for s in draft.rows_known if within(s.seq, draft.head.branch)]
    after = merged([s.message for s in before], change, draft)
    check(after)
    same = 0
    while same < min(len(before), len(after)) and before[same].message == after[same]:
        same += 1
    written = after[same:]
    if (size := sum(len(message.text) for message in written)) > MOST_CHANGED:
        reason = (
            f"It would write {size:,} characters again, those of all messages that follow; {MOST_CHANGED:,} can be."
        )
        raise CannotBeDone(reason)
    if same < len(before):
        at = 0 if change.clear else _before(draft, before, same)
        go_back(draft, at, run_id=draft.input_id)
    for message in written:
        draft.event(MessageAdded, run_id=draft.input_id, message=message)
    draft.event(
        StateUpdated,
        run_id=draft.input_id,
        input_id=draft.input_id,
        checkpoint_id=str(draft.head.newest_message),
    )
    draft.audit(Action.STATE_UPDATED, actor=f"user:{draft.head.user_id}")


def _before(draft: Draft, before: Sequence[StoredMessage], same: int) -> int:
    """The number of the message that the first of those which change follows."""
    if same:
        return before[same - 1].seq
    first_known = before[0].seq
    return max((min(last, first_known - 1) for first, last in draft.head.branch if first < first_known), default=0)


def merged(messages: Sequence[Message], change: ChangeMessages, draft: Draft) -> list[Message]:
    """The conversation with the changes: a given message replaces the one with its id, or is appended."""
    made = [] if change.clear else list(messages)
    known = {message.message_id for message in made}
    for given in change.messages:
        index = None
        if given.message_id in known:
            index = next((n for n, message in enumerate(made) if message.message_id == given.message_id), None)
        known.add(given.message_id)
        if given.remove:
            if index is None:
                raise CannotBeDone(f"The conversation has no message {given.message_id!r} to remove.")
            del made[index]
        elif index is None:
            made.append(_new(given, draft))
        else:
            made[index] = _replaced(made[index], given)
    return made


def _new(given: GivenMessage, draft: Draft) -> Message:
    if given.role == "tool":
        raise CannotBeDone("A tool's message can be changed or removed; only a call adds one.")
    if not given.text:
        raise CannotBeDone("A message needs a text.")
    return Message(message_id=given.message_id, role=given.role, text=given.text, run_id=draft.input_id, at=draft.now)


def _replaced(message: Message, given: GivenMessage) -> Message:
    if message.role != given.role:
        raise CannotBeDone(f"The message {given.message_id!r} is of the role {message.role!r}, and stays that.")
    return message.model_copy(update={"text": given.text})


def check(messages: Sequence[Message]) -> None:
    """Raises `CannotBeDone` where a call and its result are not together: no model takes that."""
    waiting: set[str] = set()
    for message in (*messages, None):
        if message is not None and message.role == "tool":
            if message.call_id not in waiting:
                raise CannotBeDone(f"The result of the call {message.call_id!r} would stand without its call.")
            waiting.discard(str(message.call_id))
            continue
        if waiting:
            raise CannotBeDone(f"The call {min(waiting)!r} would stand without its result; remove both.")
        waiting = {call.call_id for call in message.tool_calls} if message else set()
