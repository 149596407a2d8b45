"""Which pages of other origins may call, also from a public page into a private network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from connectors.gateway.auth.middleware import App

_PRIVATE_NETWORK = "access-control-allow-private-network"
_EXPOSED = "access-control-expose-headers"


class Cors(CORSMiddleware):
    """Browsers ask whether a page may reach a private address (Private Network Access): pages of allowed origins may."""

    def __init__(self, app: App, *, rules: Mapping[str, Any], others: bool) -> None:
        """`rules` are arguments of `CORSMiddleware`. `others`: middleware behind this may allow pages of other origins itself,
        and their requests are passed to it."""
        super().__init__(app, allow_private_network=True, **rules)
        self._others = others

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See `CORSMiddleware`."""
        if self._others and scope["type"] == "http" and scope["method"] == "OPTIONS":
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and "access-control-request-method" in headers and not self.is_allowed_origin(origin):
                await self.app(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    async def send(self, message: Any, send: Any, request_headers: Headers) -> None:
        """See `CORSMiddleware`, which would take away what those behind it let pages read."""
        begins = message["type"] == "http.response.start"
        theirs = MutableHeaders(raw=message.setdefault("headers", [])).getlist(_EXPOSED) if begins else []

        async def joined(answer: Any) -> None:
            if theirs:
                found = MutableHeaders(raw=answer["headers"])
                found[_EXPOSED] = ", ".join(dict.fromkeys([*found.getlist(_EXPOSED), *theirs]))
            await send(answer)

        await super().send(message, joined, request_headers)

    def preflight_response(self, request_headers: Headers) -> Response:
        """See `CORSMiddleware`, which tells other origins, too, that their pages may."""
        made = super().preflight_response(request_headers)
        if not self.is_allowed_origin(origin=request_headers["origin"]) and _PRIVATE_NETWORK in made.headers:
            del made.headers[_PRIVATE_NETWORK]
        return made
