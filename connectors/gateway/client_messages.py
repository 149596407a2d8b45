"""What a client's list of messages says that its thread does not have.

Clients send their whole history, or a part of it, with each message. It is never believed: what counts is what the user says in
it after the newest message that the thread has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from connectors.gateway.problems import Problem
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
    """Of a tool's message."""
    named: str = ""
    """The role in the client's word."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said: the text, and the id that the thread knows it by."""

    text: str
    message_id: str | None


def listed(message: Mapping[str, object]) -> Listed:
    """A message with role (or type) and content. Raises `Problem` for one of another shape."""
    named = message.get("type") if message.get("type") in _ROLES else message.get("role") or message.get("type")
    given, call = message.get("id"), message.get("tool_call_id") or message.get("toolCallId")
    return Listed(
        _ROLES.get(named, "other") if isinstance(named, str) else "other",
        message.get("content"),
        own_id("msg", str(given)) if given not in (None, "") else None,
        own_id("call", call) if isinstance(call, str) and call else None,
        str(named)[:40],
    )


def fresh(messages: Sequence[Listed], known: Sequence[StoredMessage]) -> Sequence[Listed]:
    """What comes after the newest `known` message of the list, and after its last one that an assistant wrote."""
    ids, begin = {stored.message.message_id for stored in known}, 0
    for place, message in enumerate(messages, 1):
        if message.role == "assistant" or message.message_id in ids:
            begin = place
    return messages[begin:]


def said(
    messages: Sequence[Listed], known: Sequence[StoredMessage] = (), pending: Collection[PendingCall] = ()
) -> Said:
    """What the user says to an agent that its thread, whose messages are `known`, does not have.

    A tool's message there belongs to a call of the thread, which the user closes by saying something else. Raises `Problem`
    422 when nothing is new, or for what nobody but the agent and its tenant may say.
    """
    for message in messages:
        if message.role == "other":
            words = f"a message with the role {message.named!r} cannot be sent; only the user's."
            raise Problem(422, "invalid", words)
    new = fresh(messages, known)
    check_calls(new, known, pending)
    users = [message for message in new if message.role == "user"]
    text = "\n\n".join(filter(None, (text_of(message.content) for message in users)))
    if not text:
        raise Problem(422, "nothing_said", _nothing(messages, new, users))
    return Said(text, users[-1].message_id)


def check_calls(new: Sequence[Listed], known: Sequence[StoredMessage], pending: Collection[PendingCall] = ()) -> None:
    """Raises `Problem` 422 for a tool's message that answers no call of the thread."""
    calls = {p.call.call_id for p in pending}
    calls |= {call.call_id for stored in known for call in stored.message.tool_calls}
    for message in new:
        if message.role == "tool" and message.call_id not in calls:
            raise Problem(422, "invalid", f"There is no call {str(message.call_id)[:128]!r} in this thread to answer.")


def _nothing(messages: Sequence[Listed], new: Sequence[Listed], users: Sequence[Listed]) -> str:
    if users:
        return "The message is empty."
    if any(message.role == "tool" for message in new):
        return "A tool's result cannot be sent: decide about the call that waits, or say something."
    if messages and messages[-1].role == "assistant":
        return "The list ends with an assistant's message; a run needs a new message of the user after it."
    return "There is no message of the user that this thread does not have."


def text_of(content: object) -> str:
    """The text of a content, which may be a list of blocks. Raises `Problem` for anything that is no text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Problem(422, "invalid", "content must be a text or a list of blocks.")
    parts = []
    for block in content:
        if isinstance(block, str):
            parts.append(block)
        elif isinstance(block, Mapping) and block.get("type") == "text" and isinstance(block.get("text"), str):
            parts.append(block["text"])
        else:
            kind = block.get("type") if isinstance(block, Mapping) else type(block).__name__
            raise Problem(422, "content_not_supported", f"content of the type {str(kind)[:40]!r} cannot be sent yet.")
    return "\n".join(parts)
