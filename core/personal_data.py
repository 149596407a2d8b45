"""What is kept of a user or of a tenant: a copy of all of it, and its end. How is what each `Holding` says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from core.refusals import Missing, NotNow
from schemas import TOPICS, CauceError, Holding, TopicSpec
from schemas.topics import DAY_MS
from state import HOLDINGS, REPEATS, Piece, Stores

_MOST_NAMED = 20
"""Things that are left which a refusal names in its text; its field `left` has all."""

DeleteThread = Callable[[str, str, str], Awaitable[None]]
"""Deletes a thread of a tenant and a user in its turn, as its user would: `Threads.delete`."""


def _of_topic(spec: TopicSpec) -> Holding:
    return Holding(
        name=spec.name,
        kind="topic",
        user=spec.about,
        exported="Nothing: the results of its records are in the stores.",
        erased=f"By Kafka, {spec.retention_ms / DAY_MS:g} days after it was written, and not before.",
    )


TOPIC_HOLDINGS = tuple(_of_topic(spec) for spec in TOPICS.values())
"""What each topic keeps of people."""


class Holdings:
    """Exports and erases personal data. Callers check the permission.

    `user_id` None means the tenant with all its users. Data that is written during the erasure may remain: first pause the
    tenant or revoke the user's access. Erasing can be repeated, and continues with what is left.
    """

    def __init__(self, stores: Stores, delete_thread: DeleteThread) -> None:
        self._stores, self._delete_thread = stores, delete_thread

    async def export(self, tenant_id: str, user_id: str | None = None) -> AsyncIterator[tuple[str, Piece]]:
        """All pieces of an export, with the names of their stores. Unreadable data is left out and logged."""
        for name, holding in HOLDINGS.items():
            if holding.copy is not None:
                async for piece in holding.copy(getattr(self._stores, name), tenant_id, user_id):
                    yield name, piece

    async def erase(self, tenant_id: str, user_id: str | None = None, *, now: datetime) -> None:
        """Erases everything that the holdings declare, even if some of it cannot be erased.

        In that case raises `NotNow` at the end, with what is left and why; `more["left"]` lists all of it.
        """
        left = await self._delete_threads(tenant_id, user_id)
        # No turn of a tenant that is not there is processed: its row stays for as long as it has a thread to delete.
        stays = {"directory"} if left else set[str]()
        for name, holding in HOLDINGS.items():
            if holding.erase is not None and name not in stays:
                try:
                    await holding.erase(getattr(self._stores, name), tenant_id, user_id, now - REPEATS)
                except CauceError as error:
                    left.append(f"the store {name}: {error}")
        if left:
            named = "; ".join(left[:_MOST_NAMED]) + ("; ..." if len(left) > _MOST_NAMED else "")
            message = f"{len(left)} things are not erased, everything else is. Erase again once their cause is removed: {named}"
            raise NotNow("not_erased", message, left=left)

    async def _delete_threads(self, tenant_id: str, user_id: str | None) -> list[str]:
        """Which could not be deleted, and why."""
        left = []
        for thread in await self._stores.journal.owned(tenant_id):
            if thread.deleted_at is not None or (user_id is not None and thread.user_id not in (user_id, "")):
                continue
            shown = f"the thread {thread.thread_id} of {thread.user_id or 'nobody knows whom'}"
            if user_id is not None and not thread.user_id:
                left.append(f"{shown}: neither its head nor a list says that it is another user's")
                continue
            try:
                await self._delete_thread(tenant_id, thread.user_id, thread.thread_id)
            except CauceError as error:
                deleted_meanwhile = isinstance(error, Missing) and error.code == "thread_not_found"
                if not deleted_meanwhile:
                    left.append(f"{shown}: {error}")
        return left
