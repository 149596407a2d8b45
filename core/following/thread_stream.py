"""A thread's events without gap or repeat: from the store up to now, then live."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from core.following.feed import EarlyResult, Feed, Resync, Subscription, TextPiece, stored_events
from core.following.graph_reader import GraphPieces
from core.refusals import Expired, NotNow
from schemas import ServerTrouble, ThreadEvent, ThreadKey
from schemas.common.clock import utc_now
from state import Journal

PAGE = 500
_LOOKS = (1, 2, 4, 8, 12)
"""Heartbeats in a row after which the store is looked at, in case the feed has lost a record."""


class Heartbeat:
    """Nothing happened for a while."""


HEARTBEAT = Heartbeat()
StreamItem = ThreadEvent | TextPiece | EarlyResult | GraphPieces | Heartbeat


class ThreadStream:
    """Reads one thread for one client. `expires` ends it: a stream lives no longer than what it was opened with."""

    def __init__(
        self, journal: Journal, feed: Feed, key: ThreadKey, *, heartbeat: float, expires: datetime | None = None
    ) -> None:
        self._journal, self._feed, self._key = journal, feed, key
        self._heartbeat, self._expires = heartbeat, expires

    async def items(self, since: int = 0) -> AsyncIterator[StreamItem]:
        """Events with numbers above `since`, what is known before its event between them, and heartbeats. Never ends by itself.

        Raises `Refused` when the reader is too slow (`slow_reader`) or its credential has expired (`expired`).
        """
        with self._feed.subscribed(self._key) as live:
            seq, idle = since, 0
            async for event in self.stored(seq):
                yield event
                seq = event.seq
            while True:
                fresh = await live.take(self._heartbeat)
                self._check(live)
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
            if len(page) < PAGE:
                return
            since = page[-1].seq

    def _check(self, live: Subscription) -> None:
        if live.overflowed:
            words = "You read more slowly than the agent writes; connect again with the last id that you have."
            raise NotNow("slow_reader", words)
        if self._expires and utc_now() >= self._expires:
            raise Expired("expired", "The credential that this stream was opened with has expired.")
