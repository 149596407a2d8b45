"""Which part of a thread the model sees: the newest messages that fit into its budget, cut where providers allow it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from schemas import Message
from threads.enclosure import ADDED, is_data

CHARACTERS_PER_TOKEN = 4
"""A common estimate for English text; good enough for a budget that leaves room for the answer."""
MESSAGE_OVERHEAD = 8
"""Tokens of role and framing that chat formats add to a message, about."""
_LOST = Message(
    message_id="beginning",
    role="user",
    text="(The beginning of this conversation is not shown any more.)",
    run_id="beginning",
    at=datetime.fromtimestamp(0, UTC),
)


def tokens_of(message: Message) -> int:
    """Estimated tokens of a message, as a model is shown it."""
    text = max(len(message.text), len(message.provider.body) if message.provider else 0)
    text += ADDED if is_data(message) else 0
    for call in message.tool_calls:
        text += len(call.name) + len(json.dumps(call.arguments))
    return MESSAGE_OVERHEAD + text // CHARACTERS_PER_TOKEN


def window(history: Sequence[Message], budget: int) -> list[Message]:
    """The newest messages of at most `budget` estimated tokens, oldest first.

    It begins with a user message, since providers refuse a history that begins with a tool's result or an answer. The
    newest user message and what follows it are always there; results of tools among them are cut to what fits, the oldest first.
    """
    spent, start = 0, None
    for index in range(len(history) - 1, -1, -1):
        spent += tokens_of(history[index])
        if spent > budget and start is not None:
            break
        if history[index].role == "user":
            start = index
    if start is None:
        return _within([_LOST, *_without_orphans(history)], budget)
    return _within(history[start:], budget)


def _without_orphans(history: Sequence[Message]) -> Sequence[Message]:
    """The messages without the results at the beginning whose calls are not there."""
    first = next((n for n, message in enumerate(history) if message.role != "tool"), len(history))
    return history[first:]


def _within(messages: Sequence[Message], budget: int) -> list[Message]:
    """The messages with as much of the tools' results as fits."""
    kept = list(messages)
    over = sum(tokens_of(message) for message in kept) - budget
    for n, message in enumerate(kept):
        if over <= 0:
            break
        if message.role == "tool" and (short := _cut(message, over)) is not message:
            over -= tokens_of(message) - tokens_of(short)
            kept[n] = short
    return kept


def _cut(message: Message, tokens: int) -> Message:
    """The message with about so many tokens less; its beginning and a note are left at least."""
    length = len(message.text)
    left = max(0, length - (tokens + 1) * CHARACTERS_PER_TOKEN - len(_note(length, length)))
    text = message.text[:left] + _note(length - left, length)
    return message.model_copy(update={"text": text}) if len(text) < length else message


def _note(cut: int, length: int) -> str:
    return (
        f"\n[{cut:,} of this result's {length:,} characters are left out here; call the tool again for less at a time]"
    )
