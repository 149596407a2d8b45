"""A model's message as a transition needs it: what of it may be taken for whole, everything storable and of a bounded size.

Nothing that a model writes raises here: what cannot be used becomes a call with a problem, which goes back to the model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from langchain_core.messages import AIMessage

from processors.turns.provider_parts import provider_part
from processors.turns.written import Written, WrittenCall, shown_text, written_of
from schemas import MAX_TEXT, ProviderPart, TokenUsage, storable, storable_text
from threads.leg_ends import Answer, AskedTool

MOST_CALLS = 64
"""Tool calls of one answer; when a model writes more, none of them is made."""
MOST_ARGUMENT_BYTES = 250_000
"""Total for the calls of one answer, as JSON: the message and every request must fit into a record (`MAX_BODY_BYTES`)."""
MOST_TEXT_BYTES = 300_000
LONGEST_NAME = 128
"""Characters of a tool's name, as `ToolCall` has it."""
LARGEST_COUNT = 10**12

End = Literal["whole", "cut", "filtered", "paused"]

_FILTERED = re.compile(
    r"filter|safety|refus|block|prohibit|sensitiv|guardrail|moderat|toxic|spii|armor|^language$|recitation|violat|policy"
)
_CUT = re.compile(
    r"length|max|limit|trunc|incomplete|abort|error|cancel|malformed|insufficient|exceed|time.?out|interrupt|unexpected|fail"
)
_PAUSED = re.compile(r"^pause")
_SAY_WHY = frozenset({"openai", "anthropic", "ollama"})
"""Packages of LangChain whose servers end each answer with a reason: an answer without one was broken off, which an HTTP response
that ends in good order does not show."""

_WHY: dict[End, str] = {
    "cut": "the answer reached the model's limit of output tokens, or broke off",
    "filtered": "the provider's content filter held the answer back",
    "paused": "the model paused",
}


def end_of(reasons: Sequence[Any]) -> End:
    """How an answer ended, by the reasons that providers give: the worst of them counts, an unknown one is no reason.

    OpenAI `length`, `content_filter`; Anthropic `max_tokens`, `refusal`, `pause_turn`, `model_context_window_exceeded`; Gemini
    `MAX_TOKENS`, `SAFETY`, `RECITATION`, `MALFORMED_FUNCTION_CALL`; Mistral `model_length`; Bedrock `guardrail_intervened`;
    Cohere `ERROR_TOXIC`; the Responses API's status `incomplete` with `max_output_tokens`; and those who copied them.
    """
    names = [str(getattr(reason, "name", reason)).rpartition(".")[2].lower() for reason in reasons if reason]
    for end, pattern in (("filtered", _FILTERED), ("cut", _CUT), ("paused", _PAUSED)):
        if any(pattern.search(name) for name in names):
            return end  # type: ignore[return-value]
    return "whole"


def to_answer(message: AIMessage | Written, model_key: str = "") -> Answer:
    """The answer in a model's message. `model_key` names the model, see `provider_parts`."""
    written = message if isinstance(message, Written) else written_of(message)
    end = end_of(written.ends)
    text, was_cut = _text(written.message)
    tools = _asked(written.calls, end)
    kept = not any(asked.problem for asked in tools) and len(tools) == len(written.calls)

    def provider(ids: Sequence[str]) -> ProviderPart | None:
        calls = list(zip(ids, written.calls, strict=False))
        return provider_part(model_key, written.message, written.metadata, calls, all_calls_kept=kept)

    name = written.metadata.get("model_name") or written.metadata.get("model")
    return Answer(
        text,
        tools,
        _usage(written.usage),
        storable_text(name)[:200] if isinstance(name, str) and name else None,
        ending="filtered" if end == "filtered" else "cut" if end == "cut" or was_cut else None,
        unended=not written.ends and written.metadata.get("model_provider") in _SAY_WHY,
        paused=end == "paused",
        provider=provider,
    )


def _text(message: AIMessage) -> tuple[str, bool]:
    """The text, and whether it was too long to be kept."""
    text = storable_text(shown_text(message))
    kept = text[:MAX_TEXT]
    while len(json.dumps(kept, ensure_ascii=False).encode()) > MOST_TEXT_BYTES:
        kept = kept[: len(kept) * 3 // 4]
    return kept, len(kept) < len(text)


def _asked(calls: Sequence[WrittenCall], end: End) -> tuple[AskedTool, ...]:
    asked, left = list[AskedTool](), MOST_ARGUMENT_BYTES
    for call in calls[:MOST_CALLS]:
        arguments, problem = _arguments(call.arguments)
        name, unnamed = _name(call.name)
        problem = unnamed or problem
        if end != "whole":
            problem = f"The call was cut off: {_WHY[end]}. It was not made. Write it again, and shorter."
        elif len(calls) > MOST_CALLS:
            problem = f"{len(calls):,} calls were written together, and at most {MOST_CALLS} are made; none was. Ask for fewer."
        size = len(json.dumps(arguments, ensure_ascii=False).encode())
        if not problem and size > left:
            problem = f"The arguments have {size:,} bytes, and the calls of one answer may have {MOST_ARGUMENT_BYTES:,} together."
        if problem:
            arguments = {}
        else:
            left -= size
        asked.append(AskedTool(name, arguments, problem[:500] if problem else None))
    return tuple(asked)


def _name(name: Any) -> tuple[str, str | None]:
    """A name that can be stored, and what is wrong with the one that was written."""
    text = storable_text(name).strip() if isinstance(name, str) else ""
    if not text:
        return "unknown", "The call names no tool; it was not made. Write it again with the tool's name."
    if len(text) > LONGEST_NAME:
        return text[:LONGEST_NAME], f"There is no tool with a name of {len(text)} characters; the call was not made."
    return text, None


def _arguments(given: Any) -> tuple[dict[str, Any], str | None]:
    """The arguments, or what is wrong with them. A truncated object is not accepted as a whole one, and NaN is not JSON."""
    found: Any = given
    try:
        if isinstance(given, str):
            found = json.loads(given, strict=False, parse_constant=_no_constant) if given.strip() else {}
        elif not isinstance(given, dict):
            found = given
        else:
            json.dumps(given, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        reason = storable_text(str(error))[:200]
        problem = f"The arguments were not valid JSON, as when a call was cut off ({reason}). It was not made; write it again."
        return {}, problem
    if not isinstance(found, dict):
        kind = {list: "a list", str: "a text", type(None): "null", bool: "a boolean"}.get(type(found), "a number")
        return {}, f"The arguments must be a JSON object, not {kind}. The call was not made; write the call again."
    return storable(found), None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _usage(given: Mapping[str, Any] | None) -> TokenUsage | None:
    """What the provider counted; None where it counted nothing, or something that is no count."""
    if not given:
        return None
    counts = [given.get("input_tokens"), given.get("output_tokens")]
    numbers = [n if isinstance(n, int) and not isinstance(n, bool) and 0 <= n < LARGEST_COUNT else 0 for n in counts]
    return TokenUsage(input_tokens=numbers[0], output_tokens=numbers[1]) if any(numbers) else None
