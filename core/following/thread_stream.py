"""A thread's events without gap or repeat, from the store up to now, then live; and the base of what reads them for a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from typing import Any, Generic, TypeVar

from core.access import Access
from core.following.event_methods import EventMethods
from core.following.feed import EarlyResult, Feed, Resync, TextPiece, stored_events
from core.following.graph_reader import GraphPieces
from core.following.position import is_deletion
from core.principal import Principal
from core.refusals import NotNow
from schemas import ServerTrouble, ThreadEvent, ThreadKey, ToolFinished
from state import Journal

PAGE = 500
_LOOKS = (1, 2, 4, 8, 12)
"""Heartbeats in a row after which the store is looked at, in case the feed has lost a record."""


class Heartbeat:
    """Nothing happened for a while."""


HEARTBEAT = Heartbeat()
StreamItem = ThreadEvent | TextPiece | EarlyResult | GraphPieces | Heartbeat
Made = TypeVar("Made")


class ThreadStream:
    """Reads one thread for one client, for no longer than the client's credential counts."""

    def __init__(
        self,
        journal: Journal,
        feed: Feed,
        key: ThreadKey,
        still: Callable[[], Awaitable[None]],
        *,
        heartbeat: float,
        asks: float,
    ) -> None:
        """`still` raises what ends the stream, and is asked after so many seconds (`asks`)."""
        self._journal, self._feed, self._key, self._still = journal, feed, key, still
        self._heartbeat, self._asks = heartbeat, asks

    async def items(self, since: int = 0) -> AsyncIterator[StreamItem]:
        """Events with numbers above `since`, what is known before its event between them, and heartbeats. Never ends by itself.

        Raises `Refused` when the reader is too slow (`slow_reader`), and what `Access.still` raises.
        """
        clock = asyncio.get_running_loop().time
        asked = clock()
        with self._feed.subscribed(self._key) as live:
            seq, idle = since, 0
            async for event in self.stored(seq):
                yield event
                seq = event.seq
            while True:
                fresh = await live.take(self._heartbeat)
                if live.overflowed:
                    detail = "You read more slowly than the agent writes; connect again with the last id that you have."
                    raise NotNow("slow_reader", detail)
                if clock() - asked >= self._asks * 0.9:  # timers are not exact, and the next heartbeat is far
                    asked = clock()
                    with suppress(ServerTrouble):  # nobody knows: the next heartbeat asks again
                        await self._still()
                idle = 0 if fresh else idle + 1
                if not fresh:
                    if idle in _LOOKS or idle % _LOOKS[-1] == 0:
                        async for event in self.stored(seq):
                            yield event
                            seq = event.seq
                    yield HEARTBEAT
                for item in fresh:
                    if isinstance(item, TextPiece | GraphPieces | EarlyResult):
                        if not isinstance(item, EarlyResult) or item.event.seq > seq:
                            yield item
                        continue
                    if not isinstance(item, Resync):
                        if item.seq <= seq:
                            continue
                        if item.seq == seq + 1:
                            yield item
                            seq = item.seq
                            continue
                    async for event in self.stored(seq):
                        yield event
                        seq = event.seq

    async def stored(self, since: int) -> AsyncIterator[ThreadEvent]:
        """The events after `since` that the store has now."""
        while True:
            try:
                page = await self._journal.events(*self._key, since=since, limit=PAGE)
            except ServerTrouble:
                return  # live events still come, and the next heartbeat looks again
            for event in stored_events(page, self._key):
                yield event
            if page.next is None:
                return
            since = page.next


class ThreadStreams:
    """Opens streams on one feed. The caller has seen to it that the thread is the principal's."""

    def __init__(self, journal: Journal, feed: Feed, access: Access, *, heartbeat: float) -> None:
        """`heartbeat`: seconds after which an idle stream sends a heartbeat, and any asks whether its credential counts."""
        self._journal, self._feed, self._access, self._heartbeat = journal, feed, access, heartbeat

    def of(self, principal: Principal, thread_id: str, *, heartbeat: float | None = None) -> ThreadStream:
        """A thread's stream, until the principal's credential ends."""
        key = ThreadKey(principal.tenant_id, thread_id)
        beat = self._heartbeat if heartbeat is None else heartbeat
        still = partial(self._access.still, principal)
        return ThreadStream(self._journal, self._feed, key, still, heartbeat=beat, asks=self._heartbeat)


class EventReader(EventMethods, Generic[Made], base=True):
    """`read` gives what its client gets, for each item of a thread's stream."""

    def __init__(self, *, seq: int = 0) -> None:
        self.seq = seq
        """The newest event that was read."""

    async def read(self, items: AsyncIterator[StreamItem]) -> AsyncIterator[Made | None]:
        """What the client gets, and None where nothing happened for a while; up to the last event (`is_last`)."""
        async for item in items:
            if isinstance(item, Heartbeat):
                yield None
            elif isinstance(item, TextPiece):
                for made in self.on_text(item):
                    yield made
            elif isinstance(item, EarlyResult):
                for made in self.on_early_result(item.event):
                    yield made
            elif isinstance(item, GraphPieces):
                for made in self.on_graph_pieces(item):
                    yield made
            else:
                for made in await self.on_event(item):
                    yield made
                self.seq = item.seq
                if self.is_last(item):
                    return

    async def on_event(self, event: ThreadEvent) -> Iterable[Made]:
        """What an event makes."""
        found: Iterable[Made] = await self.made_of(event)
        return found

    async def made_of(self, event: ThreadEvent) -> Any:
        """What the method of the event's kind gives."""
        found = self.dispatch(event)
        return await found if isawaitable(found) else found

    def on_text(self, piece: TextPiece) -> Iterable[Made]:
        """A piece of an answer that is being written."""
        return ()

    def on_early_result(self, event: ToolFinished) -> Iterable[Made]:
        """A tool's result before its event, which comes later, or never if the turn is lost."""
        return ()

    def on_graph_pieces(self, pieces: GraphPieces) -> Iterable[Made]:
        """What a graph's leg streams before its events."""
        return ()

    def is_last(self, event: ThreadEvent) -> bool:
        """Whether nothing comes after this event: the thread is deleted, or whatever else a reader takes for the end."""
        return is_deletion(event)
