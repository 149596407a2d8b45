"""Which part of a thread the model sees: the newest messages that fit into its budget, cut where providers allow it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from schemas import Message

CHARACTERS_PER_TOKEN = 4
"""A common estimate for English text; good enough for a budget that leaves room for the answer."""
MESSAGE_OVERHEAD = 8
"""Tokens of role and framing that chat formats add to a message, about."""


def tokens_of(message: Message) -> int:
    """Estimated tokens of a message."""
    text = len(message.text)
    for call in message.tool_calls:
        text += len(call.name) + len(json.dumps(call.arguments))
    return MESSAGE_OVERHEAD + text // CHARACTERS_PER_TOKEN


def window(history: Sequence[Message], budget: int) -> list[Message]:
    """The newest messages of at most `budget` estimated tokens, oldest first.

    It begins with a user message, since providers refuse a history that begins with a tool's result or an answer. The
    newest user message and what follows it are always there, whatever they cost.
    """
    spent, start = 0, None
    for index in range(len(history) - 1, -1, -1):
        spent += tokens_of(history[index])
        if spent > budget and start is not None:
            break
        if history[index].role == "user":
            start = index
    return list(history[start or 0 :])
