"""Messages of a graph's state as messages of the thread. Pure code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from connectors.graphs import to_json
from processors.turns.written import shown_text
from schemas import MAX_TEXT, Message, TokenUsage, ToolCall, left_out, own_id, storable_text

CHANNEL = "messages"


def new_messages(before: Mapping[str, Any], after: Mapping[str, Any], *, run_id: str, at: datetime) -> list[Message]:
    """The messages that the state's `messages` gained, in order. None where the state has no list of LangChain messages.

    A message without an id is identified by its index.
    """
    old, found = _messages_of(before), _messages_of(after)
    known = {message.id for message in old if message.id}
    new = []
    for index, message in enumerate(found):
        if message.id in known or (message.id is None and index < len(old)):
            continue
        if made := to_message(message, message.id or f"{run_id}/{index}", run_id=run_id, at=at):
            new.append(made)
    return new


def _messages_of(values: Mapping[str, Any]) -> list[BaseMessage]:
    found = values.get(CHANNEL) if isinstance(values, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(message, BaseMessage) for message in found):
        return []
    return found


def to_message(message: BaseMessage, id: str, *, run_id: str, at: datetime) -> Message | None:
    """A message of a person, a model or a tool as the thread has it; None for any other."""
    common: dict[str, Any] = {
        "message_id": own_id("msg", id),
        "text": _cut(storable_text(shown_text(message))),
        "run_id": run_id,
        "at": at,
    }
    if isinstance(message, HumanMessage):
        return Message(role="user", **common)
    if isinstance(message, ToolMessage):
        name, failed = _name(message.name), message.status == "error"
        call_id = own_id("call", message.tool_call_id)
        return Message(role="tool", call_id=call_id, tool_name=name, failed=failed, **common)
    if isinstance(message, AIMessage):
        about = message.response_metadata or {}
        calls = tuple(_call(id, n, call["id"], call["name"], call["args"]) for n, call in enumerate(message.tool_calls))
        return Message(
            role="assistant", tool_calls=calls, usage=_usage(message), model=_name(about.get("model_name")), **common
        )
    return None


def _call(message_id: str, index: int, call_id: str | None, name: str, arguments: Mapping[str, Any]) -> ToolCall:
    stored = to_json(arguments)
    if (size := len(json.dumps(stored))) > MAX_TEXT:
        stored = left_out("arguments", size)
    return ToolCall(
        call_id=own_id("call", call_id or f"{message_id}/{index}"),
        name=storable_text(name)[:128] or "unknown",
        arguments=stored,
    )


def _usage(message: AIMessage) -> TokenUsage | None:
    """What a model or a node says that was used; None where that is nothing, or no count."""
    used = message.usage_metadata
    counts = [used.get("input_tokens"), used.get("output_tokens")] if used else []
    if len(counts) != 2 or not all(isinstance(count, int) and 0 <= count < 2**63 for count in counts):
        return None
    return TokenUsage(input_tokens=counts[0], output_tokens=counts[1])


def _name(given: object) -> str | None:
    return storable_text(given) if isinstance(given, str) else None


def _cut(text: str) -> str:
    """A text that fits into a record. The state has the whole of it."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
