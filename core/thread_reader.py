"""Threads as they stand: found, read, listed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

from core.permissions import Operation, require
from core.principal import Principal
from core.refusals import Conflict, not_found, unfit, unless_lost
from core.standing import standing
from core.thread_branches import Branches
from schemas import StoredMessage, ThreadCondition, ThreadHead, ThreadKey, ThreadSummary, contains, is_id
from state import PAGE_BYTES, Hydrated, Journal, Page, ThreadPlace, summary

LISTED = 10_000
"""Threads of a user that a search looks at, the last changed ones."""
STATE_BYTES = 4 << 20
"""Bytes of a thread's messages that are read for one answer: of a longer thread the newest of them."""
BEHIND = 200
"""The last changed threads that a search for busy ones looks at, one by one."""
_LINES, _HEADS = 50, 5
"""Lines and heads of threads that are read at a time: some have 20 KB, and some megabytes."""


class ThreadReader:
    """A thread of somebody else, or one that was deleted, is not there."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def find(self, principal: Principal, thread_id: str) -> ThreadHead | None:
        """The thread; None when the id is free. Raises `Refused` when it is not the principal's to use."""
        return (await self._own(principal, thread_id, 0)).head

    async def find_or_free(self, principal: Principal, thread_id: str) -> ThreadHead | None:
        """The thread; None when a thread with this id can be made. Ids are the tenant's, and are not used again.

        Raises `Refused` 409 for an id that was somebody's before, 422 for what cannot be one.
        """
        if not is_id(thread_id):
            raise unfit("thread_id", thread_id, "1 to 128 letters, digits, _, . and -")
        head = (await self._standing(principal, thread_id, 0)).head
        if head is not None and head.user_id != principal.user_id:
            detail = f"The id {thread_id!r} is taken by a thread of another user; choose another one."
            raise Conflict("thread_id_taken", detail)
        if head is not None and head.deleted:
            detail = f"The thread {thread_id!r} was deleted, and its id is not used again; choose another one."
            raise Conflict("thread_deleted", detail)
        return head

    async def get(self, principal: Principal, thread_id: str) -> ThreadHead:
        """The thread. Raises `Refused` when there is none."""
        return (await self.read(principal, thread_id, window=0))[0]

    async def read(
        self, principal: Principal, thread_id: str, *, window: int
    ) -> tuple[ThreadHead, list[StoredMessage]]:
        """The thread and its newest messages, of one moment, as far as they have `STATE_BYTES`. Raises `Refused` when there is
        none."""
        require(principal, Operation.READ)
        found = await self._own(principal, thread_id, window)
        if found.head is None:
            raise not_found("thread", thread_id)
        return found.head, list(found.messages)

    async def branches(self, principal: Principal, thread_id: str, *, window: int) -> Branches:
        """The thread with its newest messages of all branches. Raises `Refused` when there is none."""
        head, messages = await self.read(principal, thread_id, window=window)
        if head.forks:
            key, before = (principal.tenant_id, thread_id), head.next_message
            messages = await self._journal.messages(*key, before=before, limit=window, max_bytes=STATE_BYTES)
        return Branches(head, messages)

    async def messages(
        self, principal: Principal, thread_id: str, *, before: int | None = None, limit: int = 100
    ) -> Page[StoredMessage]:
        """A page of messages of the conversation, the newest `limit` below `before`, oldest first."""
        head = await self.get(principal, thread_id)
        spans, bounds = head.branch if head.forks else None, {"limit": limit, "max_bytes": PAGE_BYTES}
        return await self._journal.messages(principal.tenant_id, thread_id, before=before, spans=spans, **bounds)

    async def search(self, principal: Principal, *, newest: int = LISTED, **wanted: Any) -> list[ThreadSummary]:
        """At most `newest` threads that fit, the last changed first: see `found`."""
        lines: list[ThreadSummary] = []
        async with aclosing(self.found(principal, **wanted)) as found:
            async for line in found:
                lines.append(line)
                if len(lines) >= newest:
                    break
        return lines

    async def found(
        self,
        principal: Principal,
        *,
        text: str = "",
        metadata: Mapping[str, Any] | None = None,
        condition: ThreadCondition | None = None,
        ids: Collection[str] | None = None,
        after: tuple[datetime, str] | None = None,
    ) -> AsyncGenerator[ThreadSummary]:
        """The user's threads that fit, the last changed first: `text` in the title, `metadata` contained in theirs. With `after`,
        those behind a thread of this id that was changed last at this time. Only some of their lines are in memory at a time."""
        require(principal, Operation.READ)
        places = await self._journal.places(principal.tenant_id, principal.user_id, limit=LISTED)
        needle, wanted, looked = text.casefold(), None if ids is None else set(ids), condition in ("busy", "approval")
        maybe = [
            place
            for n, place in enumerate(places)
            if (wanted is None or place.thread_id in wanted)
            and (after is None or _behind(place, after))
            and (condition in (None, place.condition) or (condition == "busy" and n < BEHIND))
        ]
        step = _HEADS if looked else _LINES
        for n in range(0, len(maybe), step):
            some = [place.thread_id for place in maybe[n : n + step]]
            lines = [
                line
                for line in await self._journal.lines(principal.tenant_id, principal.user_id, some)
                if needle in line.title.casefold() and contains(line.metadata, metadata or {})
            ]
            for line in await self._standing_as(principal, lines, condition) if looked and condition else lines:
                if condition in (None, line.condition):
                    yield line

    @staticmethod
    def line(thread_id: str, head: ThreadHead) -> ThreadSummary:
        """How a thread stands in a list."""
        return summary(thread_id, head)

    async def _standing_as(
        self, principal: Principal, lines: list[ThreadSummary], condition: ThreadCondition
    ) -> list[ThreadSummary]:
        """Those of the lines whose threads have this status now: the list lags for what starts and for what was answered, since
        not every turn writes it."""
        heads = await asyncio.gather(*(unless_lost(self._standing(principal, line.thread_id, 0)) for line in lines))
        return [
            line.model_copy(update={"condition": condition})
            for line, thread in zip(lines, heads, strict=True)
            if thread and thread.head and not thread.head.deleted and thread.head.condition == condition
        ]

    async def _own(self, principal: Principal, thread_id: str, window: int) -> Hydrated:
        """The thread, without a head when the id is free. Raises `Missing` when it is not the principal's to use."""
        if not is_id(thread_id):
            raise not_found("thread", thread_id)
        found = await self._standing(principal, thread_id, window)
        if found.head is not None and (found.head.user_id != principal.user_id or found.head.deleted):
            raise not_found("thread", thread_id)
        return found

    async def _standing(self, principal: Principal, thread_id: str, window: int) -> Hydrated:
        key = ThreadKey(principal.tenant_id, thread_id)
        return await standing(self._journal, key, window=window, max_bytes=STATE_BYTES)


def _behind(place: ThreadPlace, after: tuple[datetime, str]) -> bool:
    return place.updated_at < after[0] or (place.updated_at == after[0] and place.thread_id > after[1])
