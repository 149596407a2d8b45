"""A user's list of threads, whole: places and lines together."""

from __future__ import annotations

from schemas import ThreadSummary
from state import Journal


async def threads_of(journal: Journal, tenant_id: str, user_id: str, *, limit: int = 50) -> list[ThreadSummary]:
    """The lines that are readable, the last changed first, at most `limit`."""
    places = await journal.places(tenant_id, user_id)
    lines = await journal.lines(tenant_id, user_id, [place.thread_id for place in places])
    return lines[:limit]
