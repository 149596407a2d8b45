"""Threads of a principal: made, changed, copied, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from core.changes import Changes
from core.costs import spend
from core.permissions import Operation, require
from core.principal import Principal
from core.quotas import Quotas
from core.refusals import Conflict, checked, not_found
from core.thread_expiry import Expiry
from core.thread_reader import ThreadReader
from schemas import (
    ChangeMessages,
    ChangeThread,
    InputRefused,
    StateUpdated,
    ThreadHead,
    ThreadKey,
    ThreadTtl,
    UnreadableRow,
)
from schemas.ids import new_uuid
from state import Journal


class Threads(ThreadReader):
    """Each change is an input of the thread, and is there when its turn is in the journal."""

    def __init__(self, journal: Journal, changes: Changes, expiry: Expiry, quotas: Quotas) -> None:
        super().__init__(journal)
        self._changes, self._expiry, self._quotas = changes, expiry, quotas

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
        require(principal, Operation.CHANGE_THREAD)
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
            await self._quotas.thread(principal)
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
        require(principal, Operation.CHANGE_THREAD)
        head = await self.get(principal, thread_id)
        changes = dict(metadata or {})
        if title is not None and "title" in head.metadata:
            changes.setdefault("title", title)  # the same title where it stands in the metadata, too
        body = checked(ChangeThread, user_id=principal.user_id, action="update", title=title, metadata=changes, ttl=ttl)
        key = ThreadKey(principal.tenant_id, thread_id)
        if ttl:
            await self._expiry.set(key, principal.user_id, ttl)
        await self._changes.done(principal, thread_id, head, body)
        if ttl and head.ttl and head.ttl.expires_at != ttl.expires_at:
            await self._expiry.forget(key, principal.user_id, head.ttl)
        return await self.get(principal, thread_id)

    async def delete(self, principal: Principal, thread_id: str) -> None:
        """Ends what runs in a thread and erases it; also one whose head cannot be read, where the user's list has it."""
        require(principal, Operation.CHANGE_THREAD)
        head: ThreadHead | None
        try:
            head = await self.get(principal, thread_id)
        except UnreadableRow:
            if not await self._journal.lists(principal.tenant_id, principal.user_id, thread_id):
                raise
            head = None
        body = ChangeThread(user_id=principal.user_id, action="delete")
        await self._changes.done(principal, thread_id, head, body)
        await self._expiry.gone(
            ThreadKey(principal.tenant_id, thread_id), principal.user_id, head.ttl if head else None
        )

    async def copy(self, principal: Principal, source: str) -> tuple[str, ThreadHead]:
        """Makes a thread that says and knows what another one does; returns its id and what it is now."""
        require(principal, Operation.CHANGE_THREAD)
        await spend("copy")
        await self.get(principal, source)
        await self._quotas.thread(principal)
        thread_id = new_uuid()
        body = ChangeThread(user_id=principal.user_id, action="copy", source_thread=source)
        await self._changes.done(principal, thread_id, None, body)
        return thread_id, await self.get(principal, thread_id)

    async def change_messages(
        self, principal: Principal, thread_id: str, head: ThreadHead, change: ChangeMessages
    ) -> int:
        """Changes what an agent's conversation says; the number of its newest message then. Raises `Refused`."""
        require(principal, Operation.CHANGE_STATE)
        await spend("state")
        answer = await self._changes.done(principal, thread_id, head, change)
        assert isinstance(answer, StateUpdated)
        return int(answer.checkpoint_id)
