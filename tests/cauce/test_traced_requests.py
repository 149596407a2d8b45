"""The gateway's spans."""

from __future__ import annotations

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cauce.settings import Settings
from cauce.telemetry import Tracing
from cauce.traced_requests import TracedRequests

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def _seen(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.headers.get("traceparent", ""), 201)


APP = Starlette(routes=[Route("/seen", _seen, methods=["POST"])])


async def asked(headers: dict[str, str]) -> tuple[ReadableSpan, str]:
    """The span of a request, and the context that the application saw."""
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    transport = httpx.ASGITransport(TracedRequests(APP, provider))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.post("/seen", headers=headers)
    (span,) = spans.get_finished_spans()
    return span, answer.text


@pytest.mark.parametrize("given", [CALLER, "", "00-nonsense"])
async def test_a_request_has_a_span_and_what_it_produces_belongs_to_it(given: str) -> None:
    span, seen = await asked({"traceparent": given} if given else {})
    _, trace, parent, _ = seen.split("-")
    assert span.context
    assert (trace, parent) == (format_trace_id(span.context.trace_id), format_span_id(span.context.span_id))
    assert (trace in CALLER, span.parent is not None) == (given == CALLER, given == CALLER)
    assert span.attributes
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "url.path": "/seen",
        "http.response.status_code": 201,
    }


def test_without_an_endpoint_nothing_is_traced() -> None:
    tracing = Tracing(Settings(), "cauce-gateway")
    assert tracing.of_requests(APP) is APP
    assert tracing.of_records() == []
    tracing.close()


def test_with_an_endpoint_requests_and_records_are_traced() -> None:
    tracing = Tracing(Settings(otlp_endpoint="http://127.0.0.1:9"), "cauce-gateway")
    assert isinstance(tracing.of_requests(APP), TracedRequests)
    assert len(tracing.of_records()) == 1
    tracing.close()
