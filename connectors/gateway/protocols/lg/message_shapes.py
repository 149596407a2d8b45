"""Messages as LangChain serialises them, there and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.gateway.client_messages import Listed, listed
from core.refusals import unfit
from schemas import Message


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


def listed_in(given: object) -> list[Listed]:
    """The messages of an input: `{"messages": ...}`, a list, one message or a text. Raises `Refused` for another shape."""
    if isinstance(given, Mapping):
        given = given.get("messages", given if "content" in given else None)
    return [_listed(message) for message in (given if isinstance(given, list) else [given]) if message is not None]


def _listed(message: object) -> Listed:
    if isinstance(message, (list, tuple)) and len(message) == 2:
        message = {"role": message[0], "content": message[1]}
    return listed(message_object(message))


def message_object(given: object) -> Mapping[str, Any]:
    """A message as an object; a string is a user's. Raises `Refused` for another shape."""
    if isinstance(given, str):
        return {"role": "user", "content": given}
    if not isinstance(given, Mapping):
        raise unfit("a message", given, "a string, or an object with role and content")
    return given
