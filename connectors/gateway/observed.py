"""The middleware that counts requests."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from connectors.gateway.problems import as_problem, response, write_down
from schemas.common.metrics import GatewayMetrics

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class Observed:
    """ASGI middleware: counts what the application behind it answers."""

    def __init__(self, app: App, *, metrics: GatewayMetrics, apis: Collection[str], api: str | None = None) -> None:
        """`api` names what is served; else the first part of each path does, where it is one of `apis`."""
        self._app, self._metrics, self._apis, self._api = app, metrics, apis, api

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Passes everything on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        first = scope["path"].split("/", 2)[1]
        api = self._api or (first if first in self._apis else "other")
        started = time.perf_counter()

        begun = done = False

        async def counting(message: Scope) -> None:
            nonlocal begun, done
            if message["type"] == "http.response.body":
                done = not message.get("more_body")
            if message["type"] == "http.response.start":
                begun = True
                self._metrics.seconds.labels(api).observe(time.perf_counter() - started)
                self._metrics.requests.labels(api, scope["method"], message["status"]).inc()
            await send(message)

        try:
            await self._app(scope, receive, counting)
        except Exception as error:
            # Whatever goes out of here makes uvicorn close the connection, on which the next request may be already.
            if begun and not done:
                raise
            if not begun:
                problem = as_problem(error)
                await response(problem, scope.get("cauce.request_id", ""))(scope, receive, counting)
            else:  # an application of the user's own answers an error itself, or has work to do after its answer
                write_down(error, f"{scope['method']} {scope['path']} failed; it was answered by then")
