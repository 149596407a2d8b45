"""What a leg of a graph streams, as counted parts: early in pieces, and whole with the turn. Pure code; see `GraphPiece`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessageChunk

from processors.turns.written import text_of
from schemas import LEFT_OUT, MAX_OUTPUT_BYTES, GraphPiece, is_left_out, is_storable, left_out, storable, storable_text

MAX_PART = MAX_OUTPUT_BYTES - 20_000
"""Bytes of a part as JSON; the rest of its record is for ids, and for a namespace of some thousand characters."""
WHOLE = frozenset({"updates", "messages", "custom"})
"""Modes whose parts are sent whole, or the run fails. What is left out of others can be read from the state."""
MAX_LEG = 4_000_000
"""Bytes of all parts of a leg, which are written in one batch; what comes after is left out there."""

Namespace = tuple[str, ...]


class PartTooLarge(Exception):
    """A graph streams something that no record holds."""


@dataclass
class Part:
    """One part, as in the turn's event."""

    mode: str
    namespace: Namespace
    data: Any = None
    checkpoint_id: str | None = None
    size: int = 0
    chunks: int = 0
    """Number of the model's chunks that it was made of."""


@dataclass
class _Text:
    """Chunks of a message that a model is writing."""

    namespace: Namespace
    about: Any
    chunks: list[AIMessageChunk]
    index: int = -1
    """Index of its part, where that has begun."""
    length: int = 0
    """Characters of the part so far."""

    def is_of(self, namespace: Namespace, message_id: str | None) -> bool:
        return self.namespace == namespace and self.chunks[0].id == message_id


@dataclass
class Parts:
    """Gathers what comes between two looks (`take`): chunks of one message become one piece."""

    to_json: Callable[[Any], Any]
    _parts: list[Part] = field(default_factory=list)
    _fresh: list[tuple[GraphPiece, int]] = field(default_factory=list)
    _texts: list[_Text] = field(default_factory=list)
    """What came since the last look, by message: models that write at the same time do not cut each other's text into tokens."""
    _open: _Text | None = None
    """The text that the last part is made of, as long as nothing else comes."""
    _unnamed: dict[Namespace, list[Part]] = field(default_factory=lambda: defaultdict(list))
    """States whose checkpoint is still to come."""
    _checkpoints: dict[Namespace, str] = field(default_factory=dict)
    _halves: dict[tuple[Namespace, str | None], str] = field(default_factory=dict)
    """First halves of surrogate pairs that models are writing in two chunks."""
    _written: dict[tuple[Namespace, str | None], int] = field(default_factory=dict)
    """Bytes of the chunks of each message."""

    def add(self, mode: str, namespace: Namespace, data: Any) -> None:
        """Takes a chunk of a stream mode, as LangGraph returns it. Raises `PartTooLarge` with a text for the user."""
        if mode == "messages" and isinstance(data[0], AIMessageChunk):
            chunk, about = self._mended(namespace, data[0]), data[1]
            self._count(namespace, chunk)
            for text in self._texts:
                if text.is_of(namespace, chunk.id):
                    text.chunks.append(chunk)
                    return
            self._texts.append(_Text(namespace, about, [chunk]))
            return
        self._settle()
        self._close()
        sent, size = encoded(mode, self.to_json(data))
        if mode in WHOLE and is_left_out(sent):
            raise _too_large(mode, sent[LEFT_OUT]["bytes"])
        part = Part(mode, namespace, sent, size=size)
        if mode == "values":
            part.data, part.size = None, 0  # the checkpoint has it
            self._unnamed[namespace].append(part)
        self._parts.append(part)
        self._piece(len(self._parts) - 1, sent, size)

    def checkpoint(self, namespace: Namespace, checkpoint_id: str) -> None:
        """A checkpoint was made: it is of the states that came before it."""
        self._checkpoints[namespace] = checkpoint_id
        for part in self._unnamed.pop(namespace, ()):
            part.checkpoint_id = checkpoint_id

    def take(self) -> list[tuple[GraphPiece, int]]:
        """What has come since the last call, with its sizes in bytes."""
        self._settle()
        fresh, self._fresh = self._fresh, []
        return fresh

    def whole(self) -> Sequence[Part]:
        """All parts, whole; nothing may be added any more."""
        self._settle()
        self._close()
        for namespace, parts in self._unnamed.items():  # of an interrupt, which makes no checkpoint
            for part in parts:
                part.checkpoint_id = self._checkpoints.get(namespace)
        total = 0
        for part in sorted(self._parts, key=lambda part: part.mode not in WHOLE):  # what the state has, too, goes first
            total += part.size
            if total > MAX_LEG and part.size:
                part.data = left_out(part.mode, part.size)
        return self._parts

    def _count(self, namespace: Namespace, chunk: AIMessageChunk) -> None:
        size = len(text_of(chunk).encode()) + sum(len(call["args"] or "") for call in chunk.tool_call_chunks)
        written = self._written[namespace, chunk.id] = self._written.get((namespace, chunk.id), 0) + size
        if written > MAX_PART:
            raise _too_large("messages", written)

    def _mended(self, namespace: Namespace, chunk: AIMessageChunk) -> AIMessageChunk:
        """The chunk with text that a record can hold: pieces and the whole have to have the same characters."""
        before = self._halves.pop((namespace, chunk.id), "")
        if not isinstance(chunk.content, str):
            return chunk.model_copy(update={"content": storable(chunk.content)})
        if not before and is_storable(chunk.content):
            return chunk
        text = before + chunk.content
        if "\ud800" <= text[-1:] <= "\udbff":
            self._halves[namespace, chunk.id], text = text[-1], text[:-1]
        return chunk.model_copy(update={"content": storable_text(text)})

    def _settle(self) -> None:
        """Makes pieces of the chunks that have come."""
        for text in self._texts:
            if self._open and self._open.is_of(text.namespace, text.chunks[0].id):
                self._open.chunks += text.chunks
            else:
                self._close()
                text.index = len(self._parts)
                self._parts.append(Part("messages", text.namespace))
                self._open = _Text(text.namespace, text.about, list(text.chunks), text.index)
            part, more = self._parts[self._open.index], len(text.chunks)
            message = added_up(text.chunks)
            sent, size = encoded("messages", [self.to_json(message), self.to_json(text.about)])
            self._piece(self._open.index, sent, size, offset=self._open.length, after=part.chunks, chunks=more)
            part.chunks += more
            self._open.length += len(text_of(message))
        self._texts = []

    def _close(self) -> None:
        """The open text is whole."""
        if self._open:
            part = self._parts[self._open.index]
            whole = [self.to_json(added_up(self._open.chunks)), self.to_json(self._open.about)]
            part.data, part.size = encoded("messages", whole)
            self._open = None

    def _piece(self, index: int, sent: Any, size: int, **about: int) -> None:
        part = self._parts[index]
        piece = GraphPiece(index=index, mode=part.mode, namespace=part.namespace, data=sent, **about)
        self._fresh.append((piece, size))


def added_up(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk:
    """One message of its chunks."""
    first, rest = chunks[0], list(chunks[1:])
    return first + rest if rest else first


def encoded(mode: str, data: Any) -> tuple[Any, int]:
    """What is sent of a part, and its size in bytes as JSON: the part itself, or that it is left out."""
    size = len(json.dumps(data, ensure_ascii=False).encode())
    return (data, size) if size <= MAX_PART else (left_out(mode, size), 0)


def _too_large(mode: str, size: int) -> PartTooLarge:
    return PartTooLarge(
        f"The graph streams {size:,} bytes in one part ({mode}), but {MAX_PART:,} fit. Let its nodes return less at a time, "
        "or keep it in the store and return its key."
    )
