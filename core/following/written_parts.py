"""Messages that a model writes in a graph, as LangChain's `AIMessageChunk` in JSON: what a reader has received, and the rest.

Clients add chunks up, so each character, call and token may be sent only once. Pure code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_NAMES = frozenset({"type", "index", "id"})
"""Keys of a block by which chunks of it are put together."""


@dataclass(frozen=True, slots=True)
class Had:
    """How much of a message a reader has. As numbers it fits into the id of a frame."""

    chunks: int = 0
    """The model's chunks, in order."""
    text: int = 0
    """Characters of its text."""
    other: int = 0
    """Characters of reasoning and whatever else comes in blocks and `additional_kwargs`."""
    calls: int = 0
    """Calls that have begun."""
    arguments: int = 0
    """Characters of their arguments."""
    input_tokens: int = 0
    output_tokens: int = 0
    about: int = 0
    """Keys of `response_metadata`, in their order."""

    def numbers(self) -> tuple[int, ...]:
        """All of it, without zeros at the end."""
        found = [self.chunks, self.text, self.other, self.calls, self.arguments]
        found += [self.input_tokens, self.output_tokens, self.about]
        while len(found) > 1 and not found[-1]:
            found.pop()
        return tuple(found)

    @classmethod
    def of(cls, numbers: Sequence[int]) -> Had:
        """Reads what `numbers` gave."""
        return cls(*numbers[:8])

    def and_then(self, message: Mapping[str, Any], chunks: int, about: int) -> Had:
        """With one more piece of the message, made of so many chunks; `about` keys of metadata are then known."""
        usage = _mapping(message.get("usage_metadata"))
        calls = _calls(message)
        return replace(
            self,
            chunks=self.chunks + chunks,
            text=self.text + len(text_of(message)),
            other=self.other + _others(message),
            calls=self.calls + sum(bool(c.get("id") or c.get("name")) for c in calls),
            arguments=self.arguments + sum(len(c.get("args") or "") for c in calls),
            input_tokens=self.input_tokens + _number(usage.get("input_tokens")),
            output_tokens=self.output_tokens + _number(usage.get("output_tokens")),
            about=max(self.about, about),
        )


NOTHING = Had()


def rest_of(message: Mapping[str, Any], had: Had) -> dict[str, Any] | None:
    """What puts a reader's chunks together to the whole message; None when nothing is missing."""
    left = _Left(had)
    content = left.content(message.get("content"))
    kwargs = left.mapping(_mapping(message.get("additional_kwargs")))
    calls = left.calls(_calls(message))
    usage = _usage(message.get("usage_metadata"), had)
    about = dict(list(_mapping(message.get("response_metadata")).items())[had.about :])
    if not (content or kwargs or calls or usage or about):
        return None
    return {
        **message,
        "content": content,
        "additional_kwargs": kwargs,
        "response_metadata": about,
        "usage_metadata": usage,
        "tool_calls": [],
        "invalid_tool_calls": [],
        "tool_call_chunks": calls,
    }


class _Left:
    """Takes off what was had, from the front."""

    def __init__(self, had: Had) -> None:
        self._text, self._other, self._calls, self._arguments = had.text, had.other, had.calls, had.arguments

    def content(self, content: Any) -> Any:
        if isinstance(content, str):
            return self._rest_of_text(content)
        blocks = content if isinstance(content, list) else []
        return [left for block in blocks if (left := self._block(block)) is not None]

    def _block(self, block: Any) -> Any:
        if isinstance(block, str):
            return self._rest_of_text(block) or None
        if not isinstance(block, Mapping):
            return block
        if block.get("type") == "text":
            text = self._rest_of_text(str(block.get("text") or ""))
            return {**block, "text": text} if text else None
        left = self.mapping(block)
        return left if set(left) - _NAMES else None

    def _rest_of_text(self, text: str) -> str:
        left, self._text = text[self._text :], max(0, self._text - len(text))
        return left

    def mapping(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Without the characters that were had; what is no text comes as long as nothing behind it was had."""
        made = {}
        for key, value in given.items():
            if key in _NAMES:
                made[key] = value
            elif (left := self._value(value)) is not None:
                made[key] = left
        return made

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            left, self._other = value[self._other :], max(0, self._other - len(value))
            return left or None
        if isinstance(value, Mapping):
            left_of = self.mapping(value)
            return left_of if set(left_of) - _NAMES else None
        if isinstance(value, list):
            return [left for one in value if (left := self._value(one)) is not None] or None
        return None if self._other else value

    def calls(self, calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        made = []
        for n, call in enumerate(calls):
            arguments = str(call.get("args") or "")
            left, self._arguments = arguments[self._arguments :], max(0, self._arguments - len(arguments))
            if n >= self._calls:
                made.append(dict(call))
            elif left:
                made.append({**call, "name": None, "id": None, "args": left})
        return made


def _usage(given: Any, had: Had) -> dict[str, Any] | None:
    usage = _mapping(given)
    if not (had.input_tokens or had.output_tokens):
        return dict(usage) or None
    counts = {
        "input_tokens": max(0, _number(usage.get("input_tokens")) - had.input_tokens),
        "output_tokens": max(0, _number(usage.get("output_tokens")) - had.output_tokens),
    }
    total = sum(counts.values())
    return {**counts, "total_tokens": total} if total else None


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message's content, which may be a list of blocks."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else ()
    return "".join(
        block if isinstance(block, str) else str(block.get("text") or "")
        for block in blocks
        if isinstance(block, str) or (isinstance(block, Mapping) and block.get("type") == "text")
    )


def _others(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    blocks = (
        [b for b in content if isinstance(b, Mapping) and b.get("type") != "text"] if isinstance(content, list) else []
    )
    return sum(_characters(block) for block in blocks) + _characters(_mapping(message.get("additional_kwargs")))


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_characters(one) for key, one in value.items() if key not in _NAMES)
    return sum(_characters(one) for one in value) if isinstance(value, list) else 0


def _calls(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = message.get("tool_call_chunks")
    return [call for call in found if isinstance(call, Mapping)] if isinstance(found, list) else []


def _mapping(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def _number(given: Any) -> int:
    return given if isinstance(given, int) else 0
