"""What is kept of a user or of a tenant: a copy of all of it, and its end. How is what each `Holding` says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

from schemas import TOPICS, Holding, TopicSpec
from schemas.topics import DAY_MS
from state import HOLDINGS, INPUT_TTL, Piece, Stores

REPEATS = timedelta(seconds=INPUT_TTL)
"""How long a record may be read again, so that what its repeat is known by must stay."""
_ALL = 1_000_000

DeleteThread = Callable[[str, str, str], Awaitable[None]]
"""Deletes a thread of a tenant and a user in its turn, as its user would: `Threads.delete`."""


def _of_topic(spec: TopicSpec) -> Holding:
    return Holding(
        name=spec.name,
        kind="topic",
        user=spec.about,
        exported="Nothing: what became of its records is in the stores.",
        erased=f"By Kafka, {spec.retention_ms / DAY_MS:g} days after it was written, and not before.",
    )


TOPIC_HOLDINGS = tuple(_of_topic(spec) for spec in TOPICS.values())
"""What each topic keeps of people."""


class Holdings:
    """Copies and erases. Nobody asks here whether who wants it may: that is for whoever calls.

    `user_id` None stands for the tenant with all its users. What is erased while somebody still writes may come again: close the
    door first, by pausing the tenant or taking the user's rights away. Erasing is repeatable, and goes on where it stopped.
    """

    def __init__(self, stores: Stores, delete_thread: DeleteThread) -> None:
        self._stores, self._delete_thread = stores, delete_thread

    async def export(self, tenant_id: str, user_id: str | None = None) -> AsyncIterator[tuple[str, Piece]]:
        """All that an export has, with the names of the stores. What cannot be read is left out, and the log says so."""
        for name, holding in HOLDINGS.items():
            if holding.copy is not None:
                async for piece in holding.copy(getattr(self._stores, name), tenant_id, user_id):
                    yield name, piece

    async def erase(self, tenant_id: str, user_id: str | None = None, *, now: datetime) -> None:
        """Erases what the holdings say. Raises `Refused` when a thread could not be deleted in time."""
        journal = self._stores.journal
        for user in await journal.users(tenant_id) if user_id is None else [user_id]:
            for line in await journal.threads(tenant_id, user, limit=_ALL):
                await self._delete_thread(tenant_id, user, line.thread_id)
        for name, holding in HOLDINGS.items():
            if holding.erase is not None:
                await holding.erase(getattr(self._stores, name), tenant_id, user_id, now - REPEATS)
