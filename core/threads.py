"""Threads of a principal: made, found, listed, changed, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from core.branches import Branches
from core.changes import Changes
from core.errors import Conflict, Invalid, checked, not_found, unless_lost
from core.expiry import Expiry
from core.principal import Principal
from core.standing import standing
from schemas import (
    ChangeMessages,
    ChangeThread,
    InputRefused,
    StateUpdated,
    StoredMessage,
    ThreadCondition,
    ThreadHead,
    ThreadKey,
    ThreadSummary,
    ThreadTtl,
    UnreadableRow,
    contains,
    is_id,
)
from schemas.ids import new_uuid
from state import Hydrated, Journal
from state.rows import summary

LISTED = 10_000
"""Threads of a user that a search looks at, the last changed ones."""
BEHIND = 200
"""The last changed threads that a search for busy ones looks at, one by one."""
_AT_ONCE = 50
"""Threads that are read at a time."""


class Threads:
    """A thread of somebody else, or one that was deleted, is not there."""

    def __init__(self, journal: Journal, changes: Changes, expiry: Expiry) -> None:
        self._journal, self._changes, self._expiry = journal, changes, expiry

    async def find(self, principal: Principal, thread_id: str) -> ThreadHead | None:
        """The thread; None when the id is free. Raises `Refused` when it is not the principal's to use."""
        if not is_id(thread_id):
            raise not_found("thread", thread_id)
        head = (await self._standing(principal, thread_id, 0)).head
        if head is not None and (head.user_id != principal.user_id or head.deleted):
            raise not_found("thread", thread_id)
        return head

    async def find_or_free(self, principal: Principal, thread_id: str) -> ThreadHead | None:
        """The thread; None when a thread with this id can be made. Ids are the tenant's, and are not used again.

        Raises `Refused` 409 for an id that was somebody's before, 422 for what cannot be one.
        """
        if not is_id(thread_id):
            raise Invalid("invalid", "thread_id may have 1 to 128 letters, digits, _, . and -.")
        head = (await self._standing(principal, thread_id, 0)).head
        if head is not None and head.user_id != principal.user_id:
            words = f"The id {thread_id!r} is taken by a thread of another user; choose another one."
            raise Conflict("thread_id_taken", words)
        if head is not None and head.deleted:
            words = f"The thread {thread_id!r} was deleted, and its id is not used again; choose another one."
            raise Conflict("thread_deleted", words)
        return head

    async def ensure(
        self,
        principal: Principal,
        thread_id: str,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl: ThreadTtl | None = None,
    ) -> None:
        """Makes the thread where there is none of this id; what is there stays as it is. Raises `Refused` 409 when
        the id cannot be had."""
        if await self.find_or_free(principal, thread_id) is None:
            made = {"title": title, "metadata": metadata, "ttl": ttl}
            await self.create(principal, thread_id=thread_id, **made, if_exists="do_nothing")  # type: ignore[arg-type]

    async def read(
        self, principal: Principal, thread_id: str, *, window: int
    ) -> tuple[ThreadHead, list[StoredMessage]]:
        """The thread and its newest messages, of one moment. Raises `Refused` when there is none."""
        principal.require("read")
        if not is_id(thread_id):
            raise not_found("thread", thread_id)
        found = await self._standing(principal, thread_id, window)
        if found.head is None or found.head.user_id != principal.user_id or found.head.deleted:
            raise not_found("thread", thread_id)
        return found.head, list(found.messages)

    async def branches(self, principal: Principal, thread_id: str, *, window: int) -> Branches:
        """The thread with its newest messages of all branches. Raises `Refused` when there is none."""
        head, messages = await self.read(principal, thread_id, window=window)
        if head.forks:
            key, before = (principal.tenant_id, thread_id), head.next_message
            messages = await self._journal.messages(*key, before=before, limit=window)
        return Branches(head, messages)

    async def get(self, principal: Principal, thread_id: str) -> ThreadHead:
        """The thread. Raises `Refused` when there is none."""
        principal.require("read")
        head = await self.find(principal, thread_id)
        if head is None:
            raise not_found("thread", thread_id)
        return head

    async def create(
        self,
        principal: Principal,
        *,
        thread_id: str | None = None,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl: ThreadTtl | None = None,
        if_exists: Literal["raise", "do_nothing"] = "raise",
    ) -> tuple[str, ThreadHead]:
        """Makes a thread; returns its id and what it is now. Raises `Refused` 409 when the id cannot be had."""
        principal.require("write")
        thread_id = thread_id or new_uuid()
        head = await self.find_or_free(principal, thread_id)
        body = checked(
            ChangeThread,
            user_id=principal.user_id,
            action="create",
            title=title,
            metadata=dict(metadata or {}),
            ttl=ttl,
        )
        if head is None:
            if ttl:
                await self._expiry.set(ThreadKey(principal.tenant_id, thread_id), principal.user_id, ttl)
            answer = await self._changes.apply(principal, thread_id, None, body)
            head = await self.find_or_free(principal, thread_id)
            if head is None:
                raise not_found("thread", thread_id)
            if not isinstance(answer, InputRefused):
                return thread_id, head
        if if_exists == "raise":
            raise Conflict("thread_exists", f"There is a thread {thread_id!r} already.")
        return thread_id, head

    async def change(
        self,
        principal: Principal,
        thread_id: str,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None,
        ttl: ThreadTtl | None = None,
    ) -> ThreadHead:
        """Renames a thread, says when its time is up, or merges metadata into it; a key whose value is null goes."""
        principal.require("write")
        head = await self.get(principal, thread_id)
        changes = dict(metadata or {})
        if title is not None and "title" in head.metadata:
            changes.setdefault("title", title)  # the same title where it stands in the metadata, too
        body = checked(ChangeThread, user_id=principal.user_id, action="update", title=title, metadata=changes, ttl=ttl)
        key = ThreadKey(principal.tenant_id, thread_id)
        if ttl:
            await self._expiry.set(key, principal.user_id, ttl)
        await self._apply(principal, thread_id, head, body)
        if ttl and head.ttl and head.ttl.expires_at != ttl.expires_at:
            await self._expiry.forget(key, principal.user_id, head.ttl)
        return await self.get(principal, thread_id)

    async def delete(self, principal: Principal, thread_id: str) -> None:
        """Ends what runs in a thread and erases it; also one whose head cannot be read, where the user's list has it."""
        principal.require("write")
        head: ThreadHead | None
        try:
            head = await self.get(principal, thread_id)
        except UnreadableRow:
            listed = await self._journal.threads(principal.tenant_id, principal.user_id, limit=LISTED)
            if not any(line.thread_id == thread_id for line in listed):
                raise
            head = None
        body = ChangeThread(user_id=principal.user_id, action="delete")
        await self._apply(principal, thread_id, head, body)
        await self._expiry.gone(
            ThreadKey(principal.tenant_id, thread_id), principal.user_id, head.ttl if head else None
        )

    async def copy(self, principal: Principal, source: str) -> tuple[str, ThreadHead]:
        """Makes a thread that says and knows what another one does; returns its id and what it is now."""
        principal.require("write")
        await self.get(principal, source)
        thread_id = new_uuid()
        body = ChangeThread(user_id=principal.user_id, action="copy", source_thread=source)
        await self._apply(principal, thread_id, None, body)
        return thread_id, await self.get(principal, thread_id)

    async def search(
        self,
        principal: Principal,
        *,
        text: str = "",
        metadata: Mapping[str, Any] | None = None,
        condition: ThreadCondition | None = None,
        ids: list[str] | None = None,
    ) -> list[ThreadSummary]:
        """The threads that fit, the last changed first: `text` in the title, `metadata` contained in theirs."""
        principal.require("read")
        found = await self._journal.threads(principal.tenant_id, principal.user_id, limit=LISTED)
        needle, wanted = text.casefold(), None if ids is None else set(ids)
        found = [
            line
            for line in found
            if (wanted is None or line.thread_id in wanted)
            and needle in line.title.casefold()
            and contains(line.metadata, metadata or {})
        ]
        if condition in ("busy", "approval"):
            return await self._standing_as(principal, found, condition)
        return [line for line in found if condition in (None, line.condition)]

    async def messages(
        self, principal: Principal, thread_id: str, *, before: int | None = None, limit: int = 100
    ) -> list[StoredMessage]:
        """Messages of the conversation, the newest `limit` below `before`, oldest first."""
        head = await self.get(principal, thread_id)
        spans = head.branch if head.forks else None
        return await self._journal.messages(principal.tenant_id, thread_id, before=before, limit=limit, spans=spans)

    async def change_messages(
        self, principal: Principal, thread_id: str, head: ThreadHead, change: ChangeMessages
    ) -> int:
        """Changes what an agent's conversation says; the number of its newest message then. Raises `Refused`."""
        principal.require("write")
        answer = await self._changes.apply(principal, thread_id, head, change)
        if isinstance(answer, InputRefused):
            raise (Conflict if head.run else Invalid)("refused", f"Not done: {answer.reason}.")
        assert isinstance(answer, StateUpdated)
        return int(answer.checkpoint_id)

    @staticmethod
    def line(thread_id: str, head: ThreadHead) -> ThreadSummary:
        """How a thread stands in a list."""
        return summary(thread_id, head)

    async def _standing_as(
        self, principal: Principal, lines: list[ThreadSummary], condition: ThreadCondition
    ) -> list[ThreadSummary]:
        """The listed threads that have this status now: the list lags for what starts and for what was answered.

        Not every turn writes the list, so the most recently changed threads are checked whatever it says about them.
        """
        recent = BEHIND if condition == "busy" else 0
        maybe = [line for n, line in enumerate(lines) if line.condition == condition or n < recent]
        found: list[ThreadSummary] = []
        for n in range(0, len(maybe), _AT_ONCE):
            some = maybe[n : n + _AT_ONCE]
            heads = await asyncio.gather(*(unless_lost(self._standing(principal, line.thread_id, 0)) for line in some))
            for line, thread in zip(some, heads, strict=True):
                if thread and thread.head and not thread.head.deleted and thread.head.condition == condition:
                    found.append(line.model_copy(update={"condition": condition}))
        return found

    async def _standing(self, principal: Principal, thread_id: str, window: int) -> Hydrated:
        return await standing(self._journal, ThreadKey(principal.tenant_id, thread_id), window=window)

    async def _apply(self, principal: Principal, thread_id: str, head: ThreadHead | None, body: ChangeThread) -> None:
        answer = await self._changes.apply(principal, thread_id, head, body)
        if isinstance(answer, InputRefused):
            raise Conflict("refused", f"Not done: {answer.reason}.")
