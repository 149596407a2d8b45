"""Large answers are made few at a time: the others wait for their turn, so that what a gateway holds of them is bounded."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from core.refusals import Limited

EACH, TOGETHER = 2, 12
"""Answers that are made at a time for one user, and for all: about 20 MB each, of the messages or rows that they are made of."""
MOST_WAITING = 200
"""Requests of one user that may wait for their turn."""


class FewAtATime:
    """Places for those who make large answers; users take turns, so that nobody waits for all requests of another."""

    def __init__(self, each: int = EACH, together: int = TOGETHER) -> None:
        self._each, self._together = each, together
        self._busy: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def place(self, who: Hashable) -> AsyncIterator[None]:
        """Has a place while it is entered. Raises `Limited` when too many wait already."""
        await self._enter(who)
        try:
            yield
        finally:
            self._leave(who)

    async def _enter(self, who: Hashable) -> None:
        queue = self._waiting.setdefault(who, deque())
        if len(queue) >= MOST_WAITING:
            detail = f"{len(queue)} requests of yours wait already for large answers; wait for some of them first."
            raise Limited("too_many_requests", detail, retry_after=2)
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(who)
            else:
                turn.cancel()
            raise

    def _leave(self, who: Hashable) -> None:
        self._busy[who] -= 1
        if not self._busy[who]:
            del self._busy[who]
        self._admit()

    def _admit(self) -> None:
        for who in list(self._waiting):
            queue = self._waiting[who]
            while queue and self._busy[who] < self._each and self._busy.total() < self._together:
                turn = queue.popleft()
                if not turn.done():
                    self._busy[who] += 1
                    turn.set_result(None)
                    self._waiting.move_to_end(who)
                    break  # the next one has its turn
            if not queue:
                del self._waiting[who]
