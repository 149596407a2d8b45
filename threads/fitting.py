"""What models and graphs wrote is made to fit into records before anything of it is kept. Pure functions on a draft."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from schemas import (
    Message,
    MessageAdded,
    TooLarge,
    ToolCall,
    ToolRequest,
    Topic,
    check_body,
    is_left_out,
    left_out,
)
from threads.draft import Draft


def call_fits(draft: Draft, call: ToolCall) -> bool:
    """Whether the call can be asked for, also when a person has approved it."""
    run = draft.run
    user_id = draft.head.user_id
    ids = {"call_id": call.call_id, "run_id": run.run_id, "user_id": user_id, "approved_by": user_id}
    try:
        check_body(Topic.TOOL_REQUESTS, ToolRequest(name=call.name, arguments=call.arguments, **ids))
    except TooLarge:
        return False
    return True


def fitted(draft: Draft, message: Message) -> Message:
    """A message of a graph's state as the thread has it: arguments that do not fit are left out, then the text is cut. The state
    has the whole of it."""
    while not _fits(draft, message):
        sizes = [0 if is_left_out(call.arguments) else _size(call.arguments) for call in message.tool_calls]
        if sizes and max(sizes) > 0:
            calls, largest = list(message.tool_calls), sizes.index(max(sizes))
            told = {"arguments": left_out("arguments", sizes[largest])}
            calls[largest] = calls[largest].model_copy(update=told)
            message = message.model_copy(update={"tool_calls": tuple(calls)})
        elif len(message.text) > 1:
            message = message.model_copy(update={"text": _cut(message.text, len(message.text) // 2)})
        else:
            break
    return message


def _fits(draft: Draft, message: Message) -> bool:
    return draft.fits(MessageAdded, run_id=message.run_id, message=message)


def _size(arguments: Mapping[str, Any]) -> int:
    """Bytes as JSON."""
    return len(json.dumps(arguments, ensure_ascii=False).encode())


def _cut(text: str, most: int) -> str:
    return text[: most - 1] + "…"
