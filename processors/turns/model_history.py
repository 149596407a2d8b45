"""A thread's messages as a model is given them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.messages import ToolCall as LangChainToolCall

from processors.turns.provider_parts import returned
from schemas import Message
from threads.enclosure import enclosed_text

LONGEST_TOOL_NAME = 64
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What OpenAI, Anthropic and those who took over their formats allow; a history with another name is refused as a whole."""


def model_facing_name(name: str) -> str:
    """The name of a tool as models are given it: its own where providers allow it, else a short one that is as unique."""
    if _TOOL_NAME.fullmatch(name):
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=4).hexdigest()
    return f"{re.sub('[^A-Za-z0-9_-]+', '_', name)[: LONGEST_TOOL_NAME - 9]}_{digest}"


def to_history(messages: Sequence[Message], model_key: str = "") -> list[AnyMessage]:
    """The messages as LangChain has them. The model `model_key` gets back what its provider gave with its own messages.

    What others than the user and the model wrote is enclosed (`threads.enclosure`).
    An assistant's message with neither text nor calls is left out: providers refuse a history with one.
    """
    history: list[AnyMessage] = []
    their_ids: dict[str, str] = {}
    for message in messages:
        if message.role == "user":
            history.append(HumanMessage(enclosed_text(message), id=message.message_id))
        elif message.role == "tool":
            history.append(
                ToolMessage(
                    enclosed_text(message),
                    tool_call_id=their_ids.get(message.call_id or "", message.call_id or ""),
                    name=model_facing_name(message.tool_name) if message.tool_name else None,
                    id=message.message_id,
                    status="error" if message.failed else "success",
                )
            )
        elif message.text.strip() or message.tool_calls:
            kept = returned(message.provider, model_key)
            their_ids |= kept.call_ids
            calls = [
                LangChainToolCall(
                    name=model_facing_name(c.name), args=c.arguments, id=kept.call_ids.get(c.call_id, c.call_id)
                )
                for c in message.tool_calls
            ]
            history.append(
                AIMessage(
                    kept.content if kept.content else message.text,
                    id=kept.id or message.message_id,
                    tool_calls=calls,
                    additional_kwargs=dict(kept.additional_kwargs),
                    response_metadata=dict(kept.response_metadata),
                )
            )
    return history
