"""What a model wrote, put together from the pieces that it came in: content, calls as texts, why it stopped. Nothing is judged.

LangChain's own sum of chunks is not used for calls and for metadata of the answer: it reads half of an object as a whole
one, leaves calls without an index in pieces, and joins two names of a model to one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

log = logging.getLogger("cauce.turns")

_TEXT_TYPES = ("text", "output_text")
_END_KEYS = ("finish_reason", "stop_reason", "done_reason", "stopReason", "status")
"""Where providers say why they stopped: OpenAI and most, Anthropic, Ollama, Bedrock; the Responses API has a status."""


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A tool call as it was written: `arguments` are a text where they came as one, else what a library made of them."""

    name: Any
    arguments: Any
    id: Any = None


@dataclass(frozen=True, slots=True)
class Written:
    """A model's whole message. `ends` are the reasons that were given for its end, as they were given."""

    message: AIMessage
    calls: tuple[WrittenCall, ...] = ()
    ends: tuple[Any, ...] = ()
    usage: Mapping[str, Any] | None = None
    """The counts under LangChain's names, however the provider names them."""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def written_of(message: AIMessage) -> Written:
    """A message that came in one piece, or one that LangChain has put together."""
    gathered = Gathered()
    gathered.add(message)
    return gathered.whole()


class Gathered:
    """Takes pieces as they come and puts them together at the end."""

    def __init__(self) -> None:
        self._pieces: list[AIMessageChunk] = []
        self._message: AIMessage | None = None
        self._calls: list[_Call] = []
        self._whole_calls: list[WrittenCall] = []
        self._metadata: dict[str, Any] = {}
        self._ends: list[Any] = []
        self._usages: list[Mapping[str, Any]] = []

    def add(self, piece: AIMessage) -> None:
        """The next piece; a whole message, of a model that cannot stream, stands for all of it."""
        about = piece.response_metadata if isinstance(piece.response_metadata, dict) else {}
        self._ends += [about[key] for key in _END_KEYS if about.get(key)]
        if isinstance(details := about.get("incomplete_details"), dict):
            self._ends.append(details.get("reason"))
        self._metadata |= {key: value for key, value in about.items() if value is not None}
        if isinstance(piece.usage_metadata, dict):
            self._usages.append(piece.usage_metadata)
        if isinstance(piece, AIMessageChunk):
            for chunk in piece.tool_call_chunks or ():
                self._add_call(chunk)
            self._pieces.append(piece.model_copy(update=_NO_CALLS))
        else:
            self._message = piece
            self._whole_calls = [WrittenCall(c.get("name"), c.get("args"), c.get("id")) for c in piece.tool_calls or ()]
            broken = piece.invalid_tool_calls or ()
            self._whole_calls += [WrittenCall(c.get("name"), c.get("args") or "", c.get("id")) for c in broken]

    def whole(self) -> Written:
        """All that came. Raises `RuntimeError` when nothing did."""
        message: AIMessage | None = self._message
        if message is None and self._pieces:
            message = _joined(self._pieces)
        if message is None:
            raise RuntimeError("the model gave no message")
        calls = self._whole_calls or [WrittenCall(c.name, c.arguments, c.id) for c in self._calls]
        return Written(message, tuple(calls), tuple(self._ends), _summed(self._usages), self._metadata)

    def _add_call(self, chunk: Mapping[str, Any]) -> None:
        name, arguments, id, index = (chunk.get(key) for key in ("name", "args", "id", "index"))
        call = self._call_of(name, arguments, id, index)
        if call is None:
            call = _Call(index)
            self._calls.append(call)
        call.add(name, arguments, id)

    def _call_of(self, name: Any, arguments: Any, id: Any, index: Any) -> _Call | None:
        """The call that a piece continues; None where it starts one. An id of its own always begins one: there are servers
        that give each of several calls the index 0, and servers that give no index, or no id."""
        if index is not None:
            fitting = (c for c in reversed(self._calls) if c.index == index and (not id or not c.id or c.id == id))
            found = next(fitting, None)
            return None if found and name and arguments and found.is_whole else found
        last = self._calls[-1] if self._calls else None
        if last is None or (id and last.id and id != last.id):
            return next((c for c in self._calls if c.id == id), None) if id else last
        return None if name and (last.is_whole or (last.name and name != last.name)) else last


_NO_CALLS: dict[str, Any] = {"tool_call_chunks": [], "tool_calls": [], "invalid_tool_calls": []}


class _Call:
    def __init__(self, index: Any) -> None:
        self.index, self.id, self.name = index, None, ""
        self._parts: list[str] = []

    def add(self, name: Any, arguments: Any, id: Any) -> None:
        self.id = self.id or id
        if isinstance(name, str) and name != self.name:  # some servers say the whole name with every piece
            self.name += name
        if arguments:
            self._parts.append(arguments if isinstance(arguments, str) else json.dumps(arguments, default=str))

    @property
    def arguments(self) -> str:
        return "".join(self._parts)

    @property
    def is_whole(self) -> bool:
        if not self._parts or not self._parts[-1].rstrip().endswith("}"):
            return False
        try:
            json.loads(self.arguments)
        except (ValueError, RecursionError):
            return False
        return True


def _joined(pieces: Sequence[AIMessageChunk]) -> AIMessage:
    """The sum of the pieces, without calls; the text alone where LangChain cannot add up what a provider put beside it."""
    bare = [p.model_copy(update={"response_metadata": {}, "usage_metadata": None}) for p in pieces]
    try:
        return bare[0] + list(bare[1:]) if len(bare) > 1 else bare[0]
    except Exception as error:
        log.warning("the pieces of an answer do not fit together, its text is kept: %r", error)
        return AIMessage("".join(shown_text(p) for p in pieces), id=pieces[0].id)


def _summed(usages: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The counts of all pieces. LangChain's packages count what is new with each piece; some servers repeat the count so far with
    every piece, which shows in the input, and there the largest counts."""
    if len(usages) < 2:
        return usages[0] if usages else None
    columns = {
        key: [u[key] for u in usages if isinstance(u.get(key), int)] for key in ("input_tokens", "output_tokens")
    }
    repeated = sum(count > 0 for count in columns["input_tokens"]) > 1
    return {key: (max(counts, default=0) if repeated else sum(counts)) for key, counts in columns.items()}


def text_of(message: BaseMessage) -> str:
    """The text of a message whose content may be a list of blocks."""
    return "".join(_texts(message.content))


def shown_text(message: BaseMessage) -> str:
    """The text, and that of a refusal, which OpenAI's models give instead of an answer: in a block, or beside the content."""
    content, extra = message.content, message.additional_kwargs
    blocks = content if isinstance(content, list | tuple) else ()
    found = [block.get("refusal") for block in blocks if isinstance(block, Mapping) and block.get("type") == "refusal"]
    if not found and isinstance(extra, dict):
        found = [extra.get("refusal")]
    return "".join([text_of(message), *(text for text in found if isinstance(text, str))])


def _texts(content: Any) -> Iterable[str]:
    if isinstance(content, str):
        yield content
        return
    for block in content if isinstance(content, list | tuple) else ():
        if isinstance(block, str):
            yield block
        elif (
            isinstance(block, Mapping)
            and block.get("type", "text") in _TEXT_TYPES
            and isinstance(block.get("text"), str)
        ):
            yield block["text"]
