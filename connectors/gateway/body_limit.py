"""Refuses bodies that are too large before anybody has read them."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException

from connectors.gateway.auth.middleware import App, Scope
from connectors.gateway.problems import Problem, response


class BodyLimit:
    """ASGI middleware: 413 by the announced length, or as soon as more than `most` bytes have come."""

    def __init__(self, app: App, *, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Passes the request on, counting."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = response(
            Problem(413, "body_too_large", f"The body is larger than the allowed {self._most:,} bytes."),
            scope.get("cauce.request_id", ""),
        )
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > self._most:
            await refusal(scope, receive, send)
            return
        seen, started = 0, False

        async def counting() -> Scope:
            nonlocal seen
            message: Scope = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise _TooLarge
            return message

        async def sending(message: Scope) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counting, sending)
        except _TooLarge:
            if not started:
                await refusal(scope, receive, send)


class _TooLarge(HTTPException):
    """More came than was allowed. Of this kind, since FastAPI takes any other that comes while a body is read for bad JSON."""

    def __init__(self) -> None:
        super().__init__(413)
