"""Messages as LangChain serialises them, there and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.gateway.problems import Problem
from schemas import Message, ToolFinished, derived_id

_HUMAN = ("human", "user")


def to_langchain(message: Message) -> dict[str, Any]:
    """A message of a thread."""
    common: dict[str, Any] = {
        "content": message.text,
        "additional_kwargs": {},
        "response_metadata": {},
        "id": message.message_id,
        "name": None,
    }
    if message.role == "user":
        return {**common, "type": "human"}
    if message.role == "tool":
        return {
            **common,
            "type": "tool",
            "name": message.tool_name,
            "tool_call_id": message.call_id,
            "status": "error" if message.failed else "success",
            "artifact": None,
        }
    usage = message.usage
    return {
        **common,
        "type": "ai",
        "response_metadata": {"model_name": message.model} if message.model else {},
        "tool_calls": [
            {"name": c.name, "args": c.arguments, "id": c.call_id, "type": "tool_call"} for c in message.tool_calls
        ],
        "invalid_tool_calls": [],
        "usage_metadata": usage
        and {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total,
        },
    }


def tool_message(event: ToolFinished) -> dict[str, Any]:
    """The message that a finished call left in the thread: it has no event of its own."""
    return to_langchain(
        Message(
            message_id=derived_id("msg", event.call_id),
            role="tool",
            text=event.content,
            run_id=event.run_id,
            at=event.at,
            call_id=event.call_id,
            tool_name=event.name,
            failed=event.status != "ok",
        )
    )


@dataclass(frozen=True, slots=True)
class Said:
    """What a person said: the text, and the id that the client shows it under."""

    text: str
    message_id: str | None


def said(given: object, known: Sequence[str] = ()) -> Said:
    """The new message of an input: `{"messages": ...}`, a list, one message or a text. Messages with a `known` id are history.

    Raises `Problem` when there is nothing new, or something that is not a person's text.
    """
    if isinstance(given, Mapping):
        given = given.get("messages", given if "content" in given else None)
    messages = given if isinstance(given, list) else [given]
    texts, last = [], None
    for message in messages:
        if message is None:
            continue
        if isinstance(message, (list, tuple)) and len(message) == 2:
            message = {"role": message[0], "content": message[1]}
        if isinstance(message, str):
            message = {"role": "user", "content": message}
        if not isinstance(message, Mapping):
            raise Problem(422, "invalid", "a message must be a text or an object with role and content.")
        if message.get("id") is not None and message.get("id") in known:
            continue
        if (role := message.get("type") or message.get("role")) not in _HUMAN:
            raise Problem(
                422, "invalid", f"a message with the role {str(role)[:40]!r} cannot be sent; only the user's."
            )
        texts.append(_text(message.get("content")))
        last = message.get("id")
    text = "\n\n".join(t for t in texts if t)
    if not text:
        raise Problem(422, "nothing_said", "The input has no new message of the user.")
    return Said(text, last if isinstance(last, str) else None)


def _text(content: object) -> str:
    """The text of a content, which may be a list of blocks."""
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
