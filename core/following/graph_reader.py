"""Streaming legs of graphs: what the feed keeps for readers who join late, and what each reader has received.

A leg's parts are counted. Its pieces come best effort and live (`GraphDelta`), its events with the turn (`GraphStreamed`); a
reader gets each part once, of a message that a model writes each piece once, whichever of the two came first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.following.position import Position
from core.following.written_parts import NOTHING, Had, rest_of, text_of
from schemas import GraphDelta, GraphPiece, GraphStreamed, is_left_out
from schemas.common.pools import SharedCache

LEG_BYTES = 4 << 20
"""Bytes of one leg that are kept for late readers; they get the rest of a longer one with its events."""
ALL_BYTES = 128 << 20
"""Bytes of all legs that are kept. When there are more, the tenant that has most of them loses its oldest."""
_LEGS_KNOWN = 8


@dataclass(frozen=True, slots=True)
class GraphPieces:
    """Pieces of a leg, in their order."""

    run_id: str
    leg: str
    pieces: tuple[GraphPiece, ...]
    graph: str = ""
    """Name of the graph; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class MessagePiece:
    """A piece of a message that a model writes in a graph, `offset` characters into it."""

    run_id: str
    message_id: str
    offset: int
    text: str


class _ActiveLeg:
    """One leg. Of one that is too long only the name is kept, so that what follows begins no new one."""

    __slots__ = ("graph", "leg", "pieces", "run_id", "said", "size", "starts")

    def __init__(self, delta: GraphDelta) -> None:
        self.graph = delta.graph
        self.run_id, self.leg, self.size = delta.run_id, delta.leg, 0
        self.pieces: list[GraphPiece] = []
        self.said: dict[str, str] = {}
        """By message of the graph itself: its text up to now."""
        self.starts: dict[int, int] = {}
        """By part: the characters of its message before it."""

    def add(self, delta: GraphDelta, size: int) -> None:
        """Keeps pieces, which have so many bytes."""
        if self.size <= LEG_BYTES:
            self.pieces += delta.pieces
            self.size += size
        if self.size > LEG_BYTES:
            self.pieces, self.said = [], {}

    def say(self, piece: GraphPiece) -> MessagePiece | None:
        """A piece as one of its message; None where it is none, or something before it is missing."""
        message = None if piece.namespace else written(piece.mode, piece.data)
        if message is None:
            return None
        message_id, text = str(message.get("id")), text_of(message)
        known = self.said.get(message_id, "")
        if not piece.offset:
            self.starts.setdefault(piece.index, len(known))
        if not text or self.starts.get(piece.index, -1) + piece.offset != len(known):
            return None
        self.said[message_id] = known + text
        return MessagePiece(self.run_id, message_id, len(known), text)


class ActiveLegs:
    """The pieces of the active leg of each thread, as far as there is room for them."""

    def __init__(self) -> None:
        self._kept: SharedCache[_ActiveLeg] = SharedCache(ALL_BYTES)

    def add(self, key: bytes, delta: GraphDelta, size: int) -> tuple[GraphPieces, list[MessagePiece]]:
        """Keeps what came, and gives it in the forms that readers get."""
        tenant = tenant_in(key)
        leg = self._kept.get(tenant, key)
        if leg is None or leg.leg != delta.leg:
            leg = _ActiveLeg(delta)
        leg.add(delta, size)
        said = [text for piece in delta.pieces if (text := leg.say(piece))]
        self._kept.put(tenant, key, leg, leg.size)
        return GraphPieces(delta.run_id, delta.leg, delta.pieces, delta.graph), said

    def get(self, key: bytes) -> tuple[GraphPieces, list[MessagePiece]] | None:
        """What is kept of a thread, in the same forms."""
        kept = self._kept.get(tenant_in(key), key)
        if kept is None or not kept.pieces:
            return None
        said = [MessagePiece(kept.run_id, message_id, 0, text) for message_id, text in kept.said.items()]
        return GraphPieces(kept.run_id, kept.leg, tuple(kept.pieces), kept.graph), said

    def end(self, key: bytes) -> None:
        """The thread's leg is over: its events have everything."""
        self._kept.pop(tenant_in(key), key)

    def clear(self) -> None:
        """Forgets all of them."""
        self._kept.clear()


def tenant_in(key: bytes) -> str:
    """The tenant of a record's key."""
    return key.partition(b":")[0].decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Part:
    """What a reader gets next of a leg."""

    index: int
    mode: str
    namespace: tuple[str, ...]
    data: Any
    """For a message that a model writes: only what is new."""
    whole: bool = False
    """An event's, which completes the part; not a live piece of it."""
    had: Had = NOTHING
    """What was there before of a message that a model writes."""
    before: int = 0
    """Characters of the message in earlier parts: what comes between two pieces of a text cuts it into parts."""
    so_far: str | None = None
    """The message's text up to now; None where its beginning is not known here."""
    checkpoint_id: str | None = None


@dataclass
class _Writing:
    """A message that is being written, or of which the event has not come."""

    had: Had = NOTHING
    text: str = ""
    about: set[str] = field(default_factory=set)
    """Keys of its metadata that came."""

    def add(self, message: Mapping[str, Any], chunks: int) -> None:
        metadata = message.get("response_metadata")
        self.about |= set(metadata) if isinstance(metadata, Mapping) else set()
        if len(self.text) == self.had.text:
            self.text += text_of(message)
        self.had = self.had.and_then(message, chunks, len(self.about))


@dataclass
class _Leg:
    count: int = 0
    """Parts that the reader has, or has begun to have."""
    stored: int = 0
    """Parts whose events have come."""
    open: dict[int, _Writing] = field(default_factory=dict)
    """What was had of messages whose events have not come; nothing of what was too large to be sent early."""
    messages: dict[str, list[int]] = field(default_factory=dict)
    """The parts that a message is made of."""
    whole: dict[int, str] = field(default_factory=dict)
    """Texts of parts that are complete."""

    def text(self, message_id: str, index: int) -> str:
        """The text of a message in its parts before this one."""
        parts = self.messages.setdefault(message_id, [])
        if index not in parts:
            parts.append(index)
        return "".join(self.whole.get(n) or (self.open[n].text if n in self.open else "") for n in parts if n < index)


class LegReader:
    """How much of a thread's legs one reader has received."""

    def __init__(self, position: Position) -> None:
        self._legs: dict[str, _Leg] = {}
        self._current = position.message_id
        if self._current:
            had = {index: _Writing(Had.of(numbers)) for index, numbers in position.parts}
            self._legs[self._current] = _Leg(count=position.offset, open=had)

    def at(self, seq: int) -> Position:
        """The position after event `seq` and what was had of the active leg."""
        leg = self._legs.get(self._current)
        if leg is None or (leg.stored >= leg.count and not leg.open):
            return Position(seq)
        parts = tuple((index, one.had.numbers()) for index, one in leg.open.items())
        return Position(seq, message_id=self._current, offset=leg.count, parts=parts)

    def live(self, leg_id: str, piece: GraphPiece) -> Part | None:
        """What is new in a piece; None when nothing is, or when something before it was missed and comes with the events."""
        if leg_id != self._current:
            if leg_id in self._legs or piece.index or piece.after:
                return None
            self._begin(leg_id)
        leg = self._legs[leg_id]
        message = written(piece.mode, piece.data)
        if message is not None:
            return self._piece(leg, piece, message)
        if piece.index != leg.count:
            return None
        leg.count += 1
        if is_left_out(piece.data):
            leg.open[piece.index] = _Writing()
            return None
        return Part(piece.index, piece.mode, piece.namespace, piece.data)

    def stored(self, event: GraphStreamed) -> Part | None:
        """What of an event's part the reader has not had."""
        if event.leg not in self._legs:
            self._begin(event.leg)
        leg = self._legs[event.leg]
        leg.stored = max(leg.stored, event.index + 1)
        had = leg.open.pop(event.index, None)
        message = written(event.mode, event.data)
        text = text_of(message) if message is not None else ""
        before = leg.text(str(message.get("id")), event.index) if message is not None else ""
        leg.whole[event.index] = text
        if event.index < leg.count and had is None:
            return None
        leg.count = max(leg.count, event.index + 1)
        data = event.data
        if message is not None and had and had.had.chunks:
            # What was written otherwise than what was had cannot be taken back.
            rest = rest_of(message, had.had) if text.startswith(had.text) and had.had.chunks != event.chunks else None
            if rest is None:
                return None
            data = [rest, *event.data[1:]]
        return Part(
            event.index,
            event.mode,
            event.namespace,
            data,
            whole=True,
            had=had.had if had else NOTHING,
            before=len(before),
            so_far=before + text,
            checkpoint_id=event.checkpoint_id,
        )

    def _piece(self, leg: _Leg, piece: GraphPiece, message: Mapping[str, Any]) -> Part | None:
        if piece.index > leg.count or piece.index < leg.stored or not piece.chunks:
            return None
        before = leg.text(str(message.get("id")), piece.index)
        if piece.index == leg.count:
            if piece.after:
                return None
            leg.count += 1
            leg.open[piece.index] = _Writing()
        writing = leg.open.get(piece.index)
        if writing is None or writing.had.chunks != piece.after:
            return None
        had = writing.had
        writing.add(message, piece.chunks)
        return Part(
            piece.index,
            piece.mode,
            piece.namespace,
            piece.data,
            had=had,
            before=len(before),
            so_far=before + writing.text if len(writing.text) == writing.had.text else None,
        )

    def _begin(self, leg_id: str) -> None:
        self._current, self._legs[leg_id] = leg_id, _Leg()
        while len(self._legs) > _LEGS_KNOWN:
            del self._legs[next(iter(self._legs))]


def written(mode: str, data: Any) -> Mapping[str, Any] | None:
    """The message of a part where a model writes it, piece by piece."""
    if mode == "messages" and isinstance(data, list) and data and isinstance(data[0], Mapping):
        message: Mapping[str, Any] = data[0]
        return message if message.get("type") == "AIMessageChunk" else None
    return None
