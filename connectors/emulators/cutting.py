"""An HTTP protocol whose connection an application can cut, for the fault that loses an answer."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class CuttingProtocol(H11Protocol):
    """Puts `cauce.cut` into each request's scope: a function that aborts the connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        application = self.app

        async def with_cut(scope: Any, receive: Any, send: Any) -> None:
            scope["cauce.cut"] = self.transport.abort
            await application(scope, receive, send)

        self.app = with_cut
