"""The base of protocols whose clients get server-sent events: heartbeats, the beginning and the end are the same for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from connectors.gateway.sse import HEARTBEAT_FRAME
from core.following.reader import EventReader, RunEnd
from core.following.thread_stream import StreamItem
from schemas import ThreadEvent


class FrameReader(EventReader[bytes], base=True):
    """Frames of a thread, or of one of its runs up to `until`."""

    def __init__(self, *, seq: int = 0, until: RunEnd | None = None) -> None:
        super().__init__(seq=seq)
        self.until = until

    async def frames(self, items: AsyncIterator[StreamItem]) -> AsyncIterator[bytes]:
        """All of them, after the events that the reader has (`seq`)."""
        for piece in self.opening():
            yield piece
        if self.until is None or not self.until.is_before(self.seq):
            async for made in self.read(items):
                yield HEARTBEAT_FRAME if made is None else made
        for piece in self.closing():
            yield piece

    def is_last(self, event: ThreadEvent) -> bool:
        """Whether the stream ends with this event."""
        return self.until.is_at(event) if self.until else super().is_last(event)

    def opening(self) -> Iterable[bytes]:
        """What comes before everything else."""
        return ()

    def closing(self) -> Iterable[bytes]:
        """What comes at the end, if the stream gets there."""
        return ()
