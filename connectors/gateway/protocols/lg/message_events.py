"""A message on the `messages` channel of the thread-centric protocol (`langchain-protocol`): its blocks of text,
reasoning and calls, each with a start, what is added to it, and a finish."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from connectors.gateway.protocols.lg.thread_state import dumps
from core.following.written_parts import text_of

_GROWS = {"text": ("text", "text-delta"), "reasoning": ("reasoning", "reasoning-delta")}
_GROWS |= dict.fromkeys(("tool_call_chunk", "server_tool_call_chunk"), ("args", "tool-call-delta"))
"""Blocks that come in pieces, with the key that grows and the kind of the pieces."""
_HEAVY = frozenset({"args", "data", "base64", "output", "transcript", "value"})
"""What a block's start leaves to its finish."""


class ChannelEvent(NamedTuple):
    """What an envelope carries on a channel. Without an id it is identified by its number in the thread."""

    method: str
    data: str
    event_id: str = ""
    namespace: tuple[str, ...] = ()
    offset: int | None = None
    """How much of the message's part has been sent including this, as a number for the frame's id."""
    piece: tuple[Mapping[str, Any], int] | None = None
    """For a piece of a block: its content, and the number of characters before it."""

    @property
    def width(self) -> int:
        """Characters of a piece."""
        return len(_text_of_piece(self.piece[0])) if self.piece else 0

    def without(self, characters: int) -> ChannelEvent:
        """The piece without the characters that the client has."""
        assert self.piece
        said, before = self.piece
        kind = next(key for key in said["delta"] if key != "type")
        cut = {**said, "delta": {**said["delta"], kind: said["delta"][kind][characters:]}}
        event_id = f"{self.event_id.rpartition(':')[0]}:{before + characters}"
        return self._replace(data=dumps(cut), event_id=event_id, piece=(cut, before + characters))


def _text_of_piece(said: Mapping[str, Any]) -> str:
    return str(next(value for key, value in said["delta"].items() if key != "type"))


@dataclass
class _Block:
    index: int
    content: dict[str, Any]


@dataclass
class OpenMessage:
    """A message that is being written."""

    message_id: str
    namespace: tuple[str, ...]
    task: str
    _blocks: dict[tuple[Any, ...], _Block] = field(default_factory=dict)
    _usage: dict[str, Any] = field(default_factory=dict)
    _about: dict[str, Any] = field(default_factory=dict)

    def start(self, about: Mapping[str, Any]) -> ChannelEvent:
        """The message's first event; `about` is LangGraph's metadata."""
        node = {"langgraph_node": about["langgraph_node"]} if about.get("langgraph_node") else {}
        return self._event({"event": "message-start", "role": "ai", "metadata": node}, "start", offset=0)

    def add(self, message: Mapping[str, Any], offset: int) -> tuple[list[ChannelEvent], int]:
        """What is new of it. `offset` counts what was sent of its part; the second is the offset after this."""
        made: list[ChannelEvent] = []
        for key, block in _blocks_of(message):
            known = self._blocks.get(key)
            if known is None:
                known = self._blocks[key] = _Block(len(self._blocks), {})
                offset += 1
                start = {"event": "content-block-start", "index": known.index, "content": _skeleton(block)}
                made.append(self._event(start, f"{known.index}:start", offset=offset))
            before, fresh = _grow(known.content, block)
            if fresh:
                offset += len(fresh)
                name, kind = _GROWS[str(block["type"])]
                delta = {"event": "content-block-delta", "index": known.index, "delta": {"type": kind, name: fresh}}
                piece = self._event(delta, f"{known.index}:{before}", offset=offset)
                made.append(piece._replace(piece=({"id": self.message_id, **delta}, before)))
        for name, count in _mapping(message.get("usage_metadata")).items():
            if isinstance(count, int):
                self._usage[name] = self._usage.get(name, 0) + count
            elif isinstance(count, Mapping):
                self._usage[name] = {**self._usage.get(name, {}), **count}
        self._about |= _mapping(message.get("response_metadata"))
        return made, offset

    def finish(self) -> list[ChannelEvent]:
        """The events that complete the message."""
        made = []
        for block in self._blocks.values():
            done = {"event": "content-block-finish", "index": block.index, "content": _finished(block.content)}
            made.append(self._event(done, f"{block.index}:finish"))
        usage = {"usage": self._usage} if self._usage else {}
        about = {"metadata": self._about} if self._about else {}
        return [*made, self._event({"event": "message-finish", **usage, **about}, "finish")]

    def _event(self, data: Mapping[str, Any], what: str, offset: int | None = None) -> ChannelEvent:
        # The id in each of them keeps apart what models write at the same time.
        data = {"id": self.message_id, **data}
        return ChannelEvent("messages", dumps(data), f"{self.message_id}:{what}", self.namespace, offset)


def _blocks_of(message: Mapping[str, Any]) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The blocks of a message or a chunk, each with what it is known by in all chunks of a message."""
    counts: dict[Any, int] = {}
    made = []
    for block in _content_blocks(message):
        kind, index = block.get("type"), block.get("index")
        if index is None:
            index = ("", counts.setdefault(kind, 0))
            counts[kind] += 1
        made.append(((kind, index), block))
    return made


def _content_blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """As LangChain reads what providers have in `content` and `additional_kwargs`."""
    from langchain_core.messages import AIMessage, AIMessageChunk

    given = {key: value for key, value in message.items() if value is not None}
    calls = given.get("tool_call_chunks")
    chunk = message.get("type") == "AIMessageChunk"
    if chunk:  # its calls are sent as they arrive, whatever is beside them
        given = {key: value for key, value in given.items() if "tool_call" not in key and key != "chunk_position"}
    try:
        found = [dict(block) for block in (AIMessageChunk if chunk else AIMessage)(**given).content_blocks]
    except Exception:  # a provider's block that LangChain itself cannot read
        text = text_of(message)
        found = [{"type": "text", "text": text}] if text else []
    if not chunk:
        return found
    found = [block for block in found if block.get("type") not in ("tool_call", "tool_call_chunk", "invalid_tool_call")]
    return [*found, *({**call, "type": "tool_call_chunk"} for call in (calls if isinstance(calls, list) else ()))]


def _grow(content: dict[str, Any], block: Mapping[str, Any]) -> tuple[int, str]:
    """Adds to a block; the characters that it had, and what is new where it grows by characters."""
    name = _GROWS.get(str(block.get("type")), ("", ""))[0]
    before, fresh = str(content.get(name) or ""), str(block.get(name) or "")
    extras = {**(content.get("extras") or {}), **(block.get("extras") or {})}
    content |= {key: value for key, value in block.items() if value is not None}
    if extras:
        content["extras"] = extras
    if not name:
        return 0, ""
    content[name] = before + fresh
    return len(before), fresh


def _skeleton(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block before anything is in it."""
    kind = str(block.get("type"))
    if kind in ("text", "reasoning"):
        return {**{k: v for k, v in block.items() if k not in ("index", "annotations")}, _GROWS[kind][0]: ""}
    if kind in _GROWS:
        index = {"index": block["index"]} if block.get("index") is not None else {}
        return {"type": kind, "id": block.get("id"), "name": block.get("name"), "args": "", **index}
    light = {key: value for key, value in block.items() if key not in _HEAVY}
    needed: dict[str, Any] = {
        "tool_call": {"args": {}},
        "server_tool_call": {"args": {}},
        "non_standard": {"value": {}},
    }
    return {**light, **needed.get(kind, {})}


def _finished(content: Mapping[str, Any]) -> dict[str, Any]:
    """A whole block; a call's arguments are read, and a call that is no JSON is an invalid one."""
    kind = content.get("type")
    if kind not in ("tool_call_chunk", "server_tool_call_chunk"):
        return dict(content)
    call = {"id": content.get("id"), "name": content.get("name")}
    raw = str(content.get("args") or "")
    try:
        arguments = json.loads(raw or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        error = "The arguments are no JSON object."
        return {"type": "invalid_tool_call", **call, "args": raw, "error": error}
    return {"type": str(kind).removesuffix("_chunk"), **call, "args": arguments}


def _mapping(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}
