"""Streams of threads for whoever calls: what is stored, then what comes."""

from __future__ import annotations

from core.following.feed import Feed
from core.following.thread_stream import ThreadStream
from core.principal import Principal
from schemas import ThreadKey
from state import Journal


class ThreadStreams:
    """Opens streams on one feed. The caller has seen to it that the thread is the principal's."""

    def __init__(self, journal: Journal, feed: Feed, *, heartbeat: float) -> None:
        """`heartbeat`: seconds after which a stream that has nothing to say says so."""
        self._journal, self._feed, self._heartbeat = journal, feed, heartbeat

    def of(self, principal: Principal, thread_id: str, *, heartbeat: float | None = None) -> ThreadStream:
        """A thread's stream, until the principal's credential expires."""
        key = ThreadKey(principal.tenant_id, thread_id)
        beat = self._heartbeat if heartbeat is None else heartbeat
        return ThreadStream(self._journal, self._feed, key, heartbeat=beat, expires=principal.expires)
