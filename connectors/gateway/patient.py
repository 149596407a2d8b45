"""JSON answers that take their time: the headers go out immediately, a blank line while nothing is known, and then the value.

JSON allows white space before a value (RFC 8259, section 2), so that every client reads the answer as always; and neither it
nor a proxy between takes the silence for a broken connection. The status is 200 by then: a later failure is in the body.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from starlette.responses import Response

from connectors.gateway.problems import Problem, as_problem

Message = MutableMapping[str, Any]


class PatientJson(Response):
    """`work` gives the JSON; it is cancelled when the reader leaves. `on_error` says what a `Problem` in it looks like."""

    def __init__(
        self,
        work: Callable[[], Awaitable[bytes]],
        *,
        on_error: Callable[[Problem], bytes],
        heartbeat: float,
        headers: Mapping[str, str] | None = None,
        on_left: Callable[[], Awaitable[None]] | None = None,
        on_end: Callable[[str | None], None] = lambda why: None,
    ) -> None:
        """`on_left` is awaited when the reader leaves before the end, `on_end` is called in any case."""
        self._work, self._on_error, self._heartbeat = work, on_error, heartbeat
        self._on_left, self._on_end = on_left, on_end
        fixed = {"content-type": "application/json", "cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(headers={**fixed, **(headers or {})})
        del self.headers["content-length"]

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """Answers, or sees the reader leave."""
        try:
            await self._answer(receive, send)
        finally:
            self._on_end(None)

    async def _answer(self, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        working = asyncio.ensure_future(self._value())
        leaving = asyncio.ensure_future(until_left(receive))
        try:
            while not working.done():
                await asyncio.wait({working, leaving}, timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED)
                if working.done():
                    break
                if leaving.done():
                    if self._on_left:
                        await self._on_left()
                    return
                await send({"type": "http.response.body", "body": b"\n", "more_body": True})
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": working.result(), "more_body": False})
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.wait({working, leaving})

    async def _value(self) -> bytes:
        try:
            return await self._work()
        except Exception as error:
            return self._on_error(as_problem(error))


async def until_left(receive: Callable[[], Awaitable[Any]]) -> None:
    """Returns when the reader has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
