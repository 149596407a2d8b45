"""From Kafka to open streams: one consumer in the process tails `chat.responses` and `chat.deltas` for all threads.

It belongs to no group, so that every instance sees everything, and reads what is not committed yet: all of `chat.responses`
was journaled before it was sent and is numbered. What a subscription misses while the consumer is away, its
stream reads from the store: it gets `RESYNC`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from core.following.graph_reader import ActiveLegs, GraphPieces, MessagePiece, tenant_in
from core.unread_inputs import UnreadInputs
from schemas import (
    TERMINAL_TYPES,
    Delta,
    GraphDelta,
    MessageAdded,
    RunPaused,
    StoredEvent,
    ThreadEvent,
    ThreadKey,
    ToolFinished,
    Topic,
    body_type,
)
from schemas.common.pools import SharedCache, Shares
from schemas.common.recent import Recent
from schemas.common.serving import ItemFailures, is_order
from state import readable
from streams.follower import Follower
from streams.kafka_servers import Kafka

_TEXT_ENDS = {MessageAdded.TYPE, *TERMINAL_TYPES}
_LEG_ENDS = {RunPaused.TYPE, *TERMINAL_TYPES}
_TEXTS_KEPT = 64 << 20
"""Characters of answers that are being written; when there are more, the tenant that has most of them loses its oldest."""
_TEXT_ITSELF = 500
"""What one takes besides its text."""
WAITING_BYTES = 256 << 20
"""All that waits for slow readers may have so many bytes; a thread alone a quarter of it, and a tenant half."""
_ENDS_KEPT = 10_000


class TextPiece(NamedTuple):
    """A piece of an answer as the model writes it: `text` begins `offset` characters into the message."""

    run_id: str
    message_id: str
    attempt: int
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class EarlyResult:
    """A tool's result as the model begins to read it. The event itself comes with its turn, or never if the turn is lost."""

    event: ToolFinished


class Resync:
    """Events may have passed unseen: read the store."""


RESYNC: Final = Resync()
Item = ThreadEvent | TextPiece | EarlyResult | GraphPieces | Resync


def decode_event(kind: str, body: bytes | str) -> ThreadEvent | None:
    """The event of a record or a stored row; None for one of a newer version."""
    model = body_type(Topic.CHAT_RESPONSES, kind)
    return model.model_validate_json(body) if model else None


def stored_events(rows: Iterable[StoredEvent], key: tuple[str, str]) -> Iterator[ThreadEvent]:
    """The events of stored rows of a tenant's thread. What cannot be read, or is of a newer version, is left out."""
    of = f"the thread {key[1]} of {key[0]}"
    found = readable(rows, lambda row: decode_event(row.type, row.body), lambda row: f"the event {row.seq} of {of}")
    return (event for event in found if event)


class Subscription:
    """What comes for one thread from now on. Bounded: once it has overflowed, nothing more comes."""

    def __init__(self, limit: int, shares: Shares, key: ThreadKey) -> None:
        """`limit`: items that may wait; what their records have in bytes is of the `shares` of the thread."""
        self._limit, self._shares, self._key = limit, shares, key
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._waiting: asyncio.Future[None] | None = None
        self.overflowed = False

    def put(self, item: Item, size: int = 0) -> None:
        """Adds an item of so many bytes, unless its reader is too far behind."""
        if len(self._items) >= self._limit or (self._items and not self._shares.has_room(*self._key, size)):
            self.overflowed = True
        if not self.overflowed:
            self._items.append(item)
            self._bytes += size
            self._shares.take(*self._key, size)
        self._wake()

    def end(self) -> None:
        """Drops what its reader has not taken."""
        self._items.clear()
        self._shares.give(*self._key, self._bytes)
        self._bytes = 0

    async def take(self, seconds: float) -> list[Item]:
        """Everything that came; waits for the first, and returns nothing when none comes in time."""
        if not self._items and not self.overflowed:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            timer = loop.call_later(seconds, self._wake)
            try:
                await self._waiting
            finally:
                timer.cancel()
        items = list(self._items)
        self.end()
        return items

    def _wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)


class _Text:
    """An answer as far as it was written, from its first piece on."""

    __slots__ = ("attempt", "message_id", "next_index", "run_id", "text")

    def __init__(self, piece: Delta) -> None:
        self.run_id, self.message_id, self.attempt = piece.run_id, piece.message_id, piece.attempt
        self.text, self.next_index = "", 0

    def add(self, piece: Delta) -> TextPiece | None:
        """The piece with its offset; None when one before it is missing, or when it came before."""
        if piece.index != self.next_index:
            return None
        offset = len(self.text)
        self.text += piece.text
        self.next_index += 1
        return TextPiece(self.run_id, self.message_id, self.attempt, offset, piece.text)

    @property
    def so_far(self) -> TextPiece:
        """All of it in one piece."""
        return TextPiece(self.run_id, self.message_id, self.attempt, 0, self.text)


def _type_of(headers: Iterable[tuple[str, bytes]]) -> str:
    for name, value in headers:
        if name == "ce_type":
            return value.decode()
    return ""


class Feed:
    """Readers subscribe to threads; all of them are served by one follower of the topics."""

    def __init__(self, bootstrap: Kafka, *, items: int, unread: UnreadInputs | None = None) -> None:
        """`items`: how many may wait in one subscription. `unread` sees each thread's events."""
        self._limit, self._unread = items, unread
        self._subscriptions: dict[bytes, set[Subscription]] = {}
        self._waiting = Shares(WAITING_BYTES)
        self._texts: SharedCache[_Text] = SharedCache(_TEXTS_KEPT)
        self._legs = ActiveLegs()
        self._over: Recent[tuple[bytes, str], None] = Recent(_ENDS_KEPT)
        """By thread: ids of the newest messages that are whole, and of the newest runs that are over."""
        self._failures = ItemFailures("the feed of events")
        topics = (Topic.CHAT_RESPONSES, Topic.CHAT_DELTAS)
        self._follower = Follower(bootstrap, topics, hand_out=self._hand_out_safely, on_gap=self._resync)

    @property
    def ready(self) -> asyncio.Event:
        """Set while it reads."""
        return self._follower.ready

    async def start(self) -> None:
        """Starts to connect and to read; returns immediately."""
        await self._follower.start()

    async def stop(self) -> None:
        """Stops reading."""
        await self._follower.stop()

    @contextlib.contextmanager
    def subscribed(self, key: ThreadKey) -> Iterator[Subscription]:
        """What comes for a thread while the block lasts; first what is being written, if there is something."""
        name = str(key).encode()
        subscription = Subscription(self._limit, self._waiting, key)
        if text := self._texts.get(key.tenant_id, name):
            subscription.put(text.so_far)
        if active := self._legs.get(name):
            subscription.put(active[0])
            _put_texts(subscription, active[1])
        self._subscriptions.setdefault(name, set()).add(subscription)
        try:
            yield subscription
        finally:
            subscription.end()
            left = self._subscriptions[name]
            left.discard(subscription)
            if not left:
                del self._subscriptions[name]

    def _resync(self) -> None:
        if self._unread is not None:
            self._unread.clear()
        self._texts.clear()
        self._legs.clear()
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.put(RESYNC)

    def _hand_out_safely(self, record: Any) -> None:
        """A record that cannot be understood affects only itself: its thread's readers read the store."""
        try:
            self._hand_out(record)
        except BaseException as error:
            if is_order(error):
                raise
            self._failures.note(f"{record.topic}/{record.partition}/{record.offset}", error)
            key = record.key or b""
            self._texts.pop(tenant_in(key), key)  # what was made of it in part
            self._legs.end(key)
            for subscription in self._subscriptions.get(key, ()):
                subscription.put(RESYNC)

    def _hand_out(self, record: Any) -> None:
        key = record.key or b""
        kind = _type_of(record.headers)
        item: Item | None = None
        if record.topic == Topic.CHAT_DELTAS:
            item = self._delta(key, kind, record.value)
        else:
            if self._unread is not None:
                self._unread.saw(key, kind, record.value)
            if kind in _TEXT_ENDS or key in self._subscriptions:
                event = decode_event(kind, record.value)
                item = event if key in self._subscriptions else None
                if kind in _TEXT_ENDS and event is not None:
                    self._ended(key, event)
            if kind in _LEG_ENDS:
                self._legs.end(key)
        if item is not None:
            for subscription in self._subscriptions.get(key, ()):
                subscription.put(item, len(record.value))

    def _ended(self, key: bytes, event: ThreadEvent) -> None:
        """A message is complete, or a run is over: what is still in flight in the other topic comes too late to be shown."""
        self._texts.pop(tenant_in(key), key)
        self._over[key, event.message.message_id if isinstance(event, MessageAdded) else event.run_id] = None

    def _delta(self, key: bytes, kind: str, value: bytes) -> Item | None:
        if kind == Delta.TYPE:
            return self._text(key, value)
        if kind == GraphDelta.TYPE:
            self._leg(key, value)
        elif kind == ToolFinished.TYPE and key in self._subscriptions:
            return EarlyResult(ToolFinished.model_validate_json(value))
        return None

    def _text(self, key: bytes, value: bytes) -> TextPiece | None:
        """A piece with its offset in the answer, which is kept for those who come in the middle of it."""
        piece = Delta.model_validate_json(value)
        if (key, piece.message_id) in self._over or (key, piece.run_id) in self._over:
            return None
        tenant = tenant_in(key)
        text = self._texts.get(tenant, key)
        if text is None or (text.message_id, text.attempt) != (piece.message_id, piece.attempt):
            text = _Text(piece)
        added = text.add(piece)
        self._texts.put(tenant, key, text, len(text.text) + _TEXT_ITSELF)
        return added

    def _leg(self, key: bytes, value: bytes) -> None:
        """Pieces of a graph's leg, which are kept; messages also as texts, for those who follow only the answers."""
        delta = GraphDelta.model_validate_json(value)
        if (key, delta.run_id) in self._over:
            return
        pieces, said = self._legs.add(key, delta, len(value))
        for subscription in self._subscriptions.get(key, ()):
            subscription.put(pieces, len(value))  # first: they say that the run is a graph's
            _put_texts(subscription, said)


def _put_texts(subscription: Subscription, said: Iterable[MessagePiece]) -> None:
    for piece in said:
        subscription.put(TextPiece(piece.run_id, piece.message_id, 1, piece.offset, piece.text))
