"""Every metric of the gateway, and the middleware that counts requests."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from connectors.gateway.problems import as_problem, response, write_down

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class GatewayMetrics:
    """The gateway's metrics in one registry; times in seconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "cauce_gateway_requests", "Requests that were answered", ["api", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "cauce_gateway_first_byte_seconds",
            "From a request until its answer begins",
            ["api"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.streams = Gauge("cauce_gateway_streams", "Streams that are open", registry=registry)
        self.cut = Counter(
            "cauce_gateway_streams_cut",
            "Streams that the gateway ended before their end; slow_reader, expired, or the code of a problem",
            ["reason"],
            registry=registry,
        )


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
