"""Tracing spans of HTTP requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry.trace import SpanKind, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

ASGIScope = MutableMapping[str, Any]
_CONTEXT = TraceContextTextMapPropagator()
_HEADERS = (b"traceparent", b"tracestate")


class TracedRequests:
    """ASGI middleware: a span for each HTTP request, until its response has ended.

    The span belongs to the trace that the caller names (W3C Trace Context), and the request runs in the context of the span, so
    that the spans of its records are its children. Attributes are named as in OpenTelemetry's semantic conventions for HTTP.
    """

    def __init__(self, app: Callable[[ASGIScope, Any, Any], Awaitable[None]], provider: TracerProvider) -> None:
        self._app, self._tracer = app, provider.get_tracer("cauce.gateway")

    async def __call__(self, scope: ASGIScope, receive: Any, send: Any) -> None:
        """Calls the application inside a span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _HEADERS}
        about = {"http.request.method": scope["method"], "url.path": scope["path"]}
        with self._tracer.start_as_current_span(
            scope["method"], context=_CONTEXT.extract(given), kind=SpanKind.SERVER, attributes=about
        ) as span:

            async def noting(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            carried: dict[str, str] = {}
            _CONTEXT.inject(carried)
            headers = [header for header in scope["headers"] if header[0] not in _HEADERS]
            headers += [(name.encode(), value.encode("latin-1")) for name, value in carried.items()]
            await self._app({**scope, "headers": headers}, receive, noting)
