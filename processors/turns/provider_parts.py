"""What a provider wants back with its own messages: signed thinking, blocks, its ids. Kept as it came, for the same model only.

Another model gets the plain text and the installation's ids: it could not check the signatures, and refuses blocks that it does
not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage

from processors.turns.written import WrittenCall
from schemas import ProviderPart, storable

MOST_PART_BYTES = 250_000
"""Limit of what is kept for a provider with one message, as stored in a record; beyond it nothing is kept, and the model
gets the plain text back. 32,000 tokens of reasoning, the most that is requested in practice, have about 130,000 characters."""
_ID_LENGTH = 500
_THEIR_ID = re.compile(r"(?!run-|lc_).{1,499}", re.DOTALL)
"""Ids that LangChain makes up begin otherwise."""
_CALL_BLOCKS = frozenset(
    ["tool_use", "tool_call", "tool_call_chunk", "function_call", "invalid_tool_call", "input_json_delta"]
)
_CALL_KEYS = ("tool_calls", "function_call", "tool_call_chunks", "invalid_tool_calls")


@dataclass(frozen=True, slots=True)
class Returned:
    """A part as it goes back: fields of LangChain's message, and the provider's ids of calls by ours."""

    content: Any = None
    additional_kwargs: Mapping[str, Any] = field(default_factory=dict)
    response_metadata: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    call_ids: Mapping[str, str] = field(default_factory=dict)


def provider_part(
    model: str,
    message: AIMessage,
    metadata: Mapping[str, Any],
    calls: Sequence[tuple[str, WrittenCall]],
    *,
    all_calls_kept: bool,
) -> ProviderPart | None:
    """What is to be kept of a message, with our ids of its calls; None where that is nothing, or more than may be kept.

    `all_calls_kept` is False when a call was not taken as it was written: the blocks that repeat the calls are left out then.
    """
    ids = _call_ids(calls)
    kept = all_calls_kept and len(ids) == len(calls)
    content = message.content if isinstance(message.content, list) else None
    extra = {key: value for key, value in (message.additional_kwargs or {}).items() if value is not None}
    if content is not None:
        content = [block for block in content if _is_kept(block, calls=kept)]
    if not kept:
        extra = {key: value for key, value in extra.items() if key not in _CALL_KEYS}
    if not (content or extra or ids):
        return None
    said = {
        key: value for key, value in metadata.items() if isinstance(value, str | bool) and len(str(value)) < _ID_LENGTH
    }
    whole = {
        "content": content,
        "additional_kwargs": extra,
        "response_metadata": said,
        "id": message.id if isinstance(message.id, str) and _THEIR_ID.fullmatch(message.id) else None,
        "call_ids": ids,
    }
    body = json.dumps(storable(whole), ensure_ascii=False, separators=(",", ":"))
    size = len(json.dumps(body, ensure_ascii=False).encode())
    return ProviderPart(model=model, body=body) if size <= MOST_PART_BYTES else None


def returned(part: ProviderPart | None, model: str) -> Returned:
    """What of a kept part goes back to this model; nothing where another model wrote it, or where it cannot be read."""
    if part is None or part.model != model:
        return Returned()
    try:
        found = json.loads(part.body)
        return Returned(
            found.get("content"),
            found.get("additional_kwargs") or {},
            found.get("response_metadata") or {},
            found.get("id"),
            found.get("call_ids") or {},
        )
    except (ValueError, AttributeError, RecursionError):
        return Returned()


def _call_ids(calls: Sequence[tuple[str, WrittenCall]]) -> dict[str, str]:
    """The provider's ids by ours; none where they are not one for each call."""
    theirs = [call.id for _, call in calls]
    usable = all(isinstance(id, str) and 0 < len(id) < _ID_LENGTH for id in theirs)
    return {ours: call.id for ours, call in calls} if usable and len(set(theirs)) == len(theirs) else {}


def _is_kept(block: Any, *, calls: bool) -> bool:
    kind = str(block.get("type")) if isinstance(block, Mapping) else None
    if kind == "tool_call_chunk":  # a piece that was not put together; the call itself goes back in any case
        return False
    if kind == "thinking" and not block.get("signature"):
        return False  # it was cut off before its end
    if kind == "text" and not str(block.get("text") or "").strip():
        return False  # providers refuse empty texts
    return calls or kind not in _CALL_BLOCKS
