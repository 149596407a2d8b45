"""Finds what is new in a client's list of messages.

Clients send their whole history, or part of it, with each message. It is not trusted: only the user's messages after the newest
message of the thread count.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.refusals import Invalid, unfit
from schemas import PendingCall, StoredMessage, own_id

Role = Literal["user", "assistant", "tool", "other"]
_ROLES: dict[object, Role] = {"human": "user", "user": "user", "ai": "assistant", "assistant": "assistant"}
_ROLES |= {"AIMessage": "assistant", "AIMessageChunk": "assistant", "tool": "tool"}


@dataclass(frozen=True, slots=True)
class Listed:
    """A message of a client's list. `content` is as the client wrote it."""

    role: Role
    content: object
    message_id: str | None = None
    """As the thread would know it."""
    call_id: str | None = None
    """The call that a tool's message answers."""
    named: str = ""
    """The role as the client named it."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said: the text, and the id that the thread knows it by."""

    text: str
    message_id: str | None
    after: int | None = None
    """The number of the message that it follows, where the conversation goes back; without a text the agent answers again."""


def listed(message: Mapping[str, object]) -> Listed:
    """A message with role (or type) and content. Raises `Refused` for one of another shape."""
    kind, role = message.get("type"), message.get("role")
    named = kind if isinstance(kind, str) and kind in _ROLES else role or kind
    given, call = message.get("id"), message.get("tool_call_id") or message.get("toolCallId")
    return Listed(
        _ROLES.get(named, "other") if isinstance(named, str) else "other",
        message.get("content"),
        own_id("msg", given if isinstance(given, str) else str(given)) if given not in (None, "") else None,
        own_id("call", call) if isinstance(call, str) and call else None,
        str(named)[:40],
    )


def fresh(messages: Sequence[Listed], known: Sequence[StoredMessage]) -> Sequence[Listed]:
    """What comes after the newest `known` message of the list, and after its last one that an assistant wrote."""
    ids, begin = {stored.message.message_id for stored in known}, 0
    for index, message in enumerate(messages, 1):
        if message.role == "assistant" or message.message_id in ids:
            begin = index
    return messages[begin:]


def said(
    messages: Sequence[Listed], known: Sequence[StoredMessage] = (), pending: Collection[PendingCall] = ()
) -> Said:
    """The user's new messages to an agent, which are not among the `known` messages of the thread.

    A message of the user that it has with another text replaces that one, and what follows. A tool's message belongs
    to a call of the thread, which the user closes by saying something else. Raises `Refused` 422 when nothing is new, or for what
    nobody but the agent and its tenant may say.
    """
    for message in messages:
        if message.role == "other":
            detail = f"a message with the role {message.named!r} cannot be sent; only the user's."
            raise Invalid("invalid", detail)
    new, after = fresh(messages, known), None
    if (edited := _edited(messages, known)) is not None:
        index, number = edited
        after = max((s.seq for s in known if s.seq < number), default=0)
        new = [messages[index], *(m for m in new if m is not messages[index])]
    check_calls(new, known, pending)
    users = [message for message in new if message.role == "user"]
    text = "\n\n".join(filter(None, (text_of(message.content) for message in users)))
    if not text:
        raise Invalid("nothing_said", _nothing(messages, new, users))
    return Said(text, users[0 if after is not None else -1].message_id, after)


def said_by_whole_history(
    messages: Sequence[Listed], known: Sequence[StoredMessage], pending: Collection[PendingCall], *, idle: bool
) -> Said:
    """The new input of a client that sends the whole intended conversation with each request.

    One that ends before the conversation's end asks for another answer there. One that leaves out the user's newest messages,
    though it has what an assistant said before them, says something else instead of them; not while a run is active, since the
    client may not have heard of it.
    """
    indexes = {stored.message.message_id: n for n, stored in enumerate(known)}
    had = [indexes[m.message_id] for m in messages if m.message_id in indexes]
    if not had or _edited(messages, known) is not None:
        return said(messages, known, pending)
    newest, rest = known[max(had)], known[max(had) + 1 :]
    if not fresh(messages, known) and messages[-1].message_id == newest.message.message_id:
        if newest.message.role != "assistant" and (rest or idle):
            return Said("", None, newest.seq)
        return said(messages, known, pending)
    listed_ids = {m.message_id for m in messages}
    answers = [s.message for s in known[: max(had) + 1] if s.message.role == "assistant" and s.message.text]
    whole = bool(answers) and all(answer.message_id in listed_ids for answer in answers)
    spoken = said(messages, known, pending)
    if idle and whole and any(stored.message.role == "user" for stored in rest):
        return replace(spoken, after=newest.seq)
    return spoken


def _edited(messages: Sequence[Listed], known: Sequence[StoredMessage]) -> tuple[int, int] | None:
    """The first message of the user in the list that the thread has with another text: its index, and its number there.

    Of several that came together the thread has one, under the id of the last.
    """
    texts = {s.message.message_id: (s.message.text, s.seq) for s in known if s.message.role == "user"}
    for index, message in enumerate(messages):
        if message.role == "user" and message.message_id in texts:
            had, number = texts[message.message_id]
            text = text_of(message.content).strip()
            if text and had.strip() != text and not had.rstrip().endswith(f"\n\n{text}"):
                return index, number
    return None


def check_calls(new: Sequence[Listed], known: Sequence[StoredMessage], pending: Collection[PendingCall] = ()) -> None:
    """Raises `Refused` 422 for a tool's message that answers no call of the thread."""
    calls = {p.call.call_id for p in pending}
    calls |= {call.call_id for stored in known for call in stored.message.tool_calls}
    for message in new:
        if message.role == "tool" and message.call_id not in calls:
            raise Invalid("invalid", f"This thread has no call {str(message.call_id)[:128]!r} to answer.")


def _nothing(messages: Sequence[Listed], new: Sequence[Listed], users: Sequence[Listed]) -> str:
    if users:
        return "The message is empty."
    if any(message.role == "tool" for message in new):
        return "A tool's result cannot be sent. Decide on the waiting call, or send a message."
    if messages and messages[-1].role == "assistant":
        return "The list ends with an assistant message; a run needs a new user message after it."
    return "There is no new user message."


def text_of(content: object) -> str:
    """The text of a content, which may be a list of blocks. Raises `Refused` for anything that is no text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise unfit("content", content, "a string or a list of blocks")
    parts = []
    for block in content:
        if isinstance(block, str):
            parts.append(block)
        elif isinstance(block, Mapping) and block.get("type") == "text" and isinstance(block.get("text"), str):
            parts.append(block["text"])
        else:
            kind = block.get("type") if isinstance(block, Mapping) else type(block).__name__
            raise Invalid(
                "content_not_supported", f"Content of the type {str(kind)[:40]!r} is not supported; send text."
            )
    return "\n".join(parts)
