"""Server-sent events (WHATWG HTML, section 9.2): a frame, the base of what makes frames of a thread, and the response that writes
them and notices that its client has disconnected.

Bare ASGI: two tasks a stream and no copies, so that one process holds thousands of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from starlette.responses import Response

from connectors.gateway.patient import until_left
from connectors.gateway.problems import Problem, as_problem
from core.following.position import RunEnd
from core.following.thread_stream import EventReader, StreamItem
from core.refusals import Refused
from schemas import ThreadEvent

log = logging.getLogger("cauce.gateway")

HEARTBEAT_FRAME = b": heartbeat\n\n"
_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}

_SEPARATORS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
"""Ends of lines for Python's `splitlines`, by which some clients read. Only texts of JSON have them, which may have escapes."""

Frames = AsyncIterator[bytes]
Message = MutableMapping[str, Any]


def frame(event: str | None, data: bytes | str, *, position: str | None = None) -> bytes:
    """One event. `data` is JSON in one line; what some readers take for the end of a line is written as an escape."""
    parts = []
    if event is not None:
        name = event if event.isprintable() else " ".join(event.splitlines())
        parts.append(f"event: {name}\n".encode())
    raw = data.encode() if isinstance(data, str) else data
    if b"\xe2\x80" in raw or b"\xc2\x85" in raw:
        for separator, escape in _SEPARATORS:
            raw = raw.replace(separator, escape)
    parts += [b"data: ", raw, b"\n"]
    if position is not None:
        parts.append(f"id: {position}\n".encode())
    parts.append(b"\n")
    return b"".join(parts)


class FrameReader(EventReader[bytes], base=True):
    """Frames of a thread, or of one of its runs up to `until`. All protocols begin, end and send heartbeats alike."""

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


class EventStream(Response):
    """A response. `frames` ends the stream when it ends; `on_error` says what a `Problem` in it looks like."""

    def __init__(
        self,
        frames: Frames,
        *,
        headers: Mapping[str, str] | None = None,
        on_error: Callable[[Problem], bytes],
        slow_seconds: float,
        on_left: Callable[[], Awaitable[None]] | None = None,
        on_end: Callable[[str | None], None] = lambda why: None,
    ) -> None:
        """`on_left` is awaited when the reader leaves before the end, `on_end` is called in any case, with the code
        of the problem that cut it off."""
        self._frames, self._on_error, self._slow = frames, on_error, slow_seconds
        self._on_left, self._on_end = on_left, on_end
        self._cut: str | None = None
        self._sending_since: float | None = None
        self._watching: asyncio.TimerHandle | None = None
        super().__init__(headers={**_HEADERS, **(headers or {})})
        del self.headers["content-length"]

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """Streams until the end, until the reader leaves, or until it is too slow."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b": open\n\n", "more_body": True})
        writing = asyncio.ensure_future(self._write(send))
        leaving = asyncio.ensure_future(until_left(receive))
        self._watch(writing)
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                if self._on_left:
                    await self._on_left()
                return
            if not writing.cancelled():  # else the reader does not read, and the server closes an unfinished response
                writing.result()
        finally:
            self._on_end(self._cut)
            if self._watching:
                self._watching.cancel()
            for task in (writing, leaving):
                task.cancel()
            await asyncio.wait({writing, leaving})
            await self._frames.aclose()  # type: ignore[attr-defined]  # they are generators

    def _watch(self, writing: asyncio.Task[None]) -> None:
        """Ends the writing once one piece has taken too long. One timer for all pieces: one for each costs as much as
        sending it."""
        loop = asyncio.get_running_loop()
        since, now = self._sending_since, loop.time()
        if since is not None and now - since >= self._slow:
            self._cut = "slow_reader"
            writing.cancel()
        elif not writing.done():
            self._watching = loop.call_at((now if since is None else since) + self._slow, self._watch, writing)

    async def _write(self, send: Any) -> None:
        last, clock = b"", asyncio.get_running_loop().time
        try:
            async for piece in self._frames:
                self._sending_since = clock()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                self._sending_since = None
        except Refused as refused:
            self._cut, last = refused.code, self._on_error(as_problem(refused))
        except OSError:
            self._cut = "slow_reader"
            return
        except Exception as error:
            self._sending_since = None
            unexpected = as_problem(error)
            self._cut, last = unexpected.code, self._on_error(unexpected)
        with contextlib.suppress(OSError):
            async with asyncio.timeout(self._slow):
                await send({"type": "http.response.body", "body": last, "more_body": False})
