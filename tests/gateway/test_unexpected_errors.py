"""An error that nobody foresaw costs its own request: the connection goes on."""

from __future__ import annotations

import asyncio
import socket

import httpx
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from connectors.gateway import problems
from connectors.gateway.observed import Observed
from schemas.common.metrics import GatewayMetrics


async def _breaks(_: Request) -> Response:
    raise RuntimeError("nobody foresaw it")


async def _fine(_: Request) -> Response:
    return JSONResponse({"ok": True})


async def test_next_request_of_the_connection_is_answered_after_an_unexpected_error() -> None:
    routes = [Route("/breaks", _breaks), Route("/fine", _fine)]
    inner = Starlette(routes=routes, exception_handlers=problems.HANDLERS)  # type: ignore[arg-type]
    outer = Starlette(routes=[Mount("/lg", inner), *routes])
    app = Observed(outer, metrics=GatewayMetrics(CollectorRegistry()), apis=("lg",))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=120, limits=limits) as client:
            connections = set()
            for path in ("/breaks", "/fine", "/lg/breaks", "/fine", "/lg/breaks", "/lg/fine"):
                answered = await client.get(path)
                assert answered.status_code == (500 if "breaks" in path else 200)
                if path == "/lg/breaks":
                    assert answered.json()["code"] == "internal_error"
                connections.add(answered.extensions["network_stream"].get_extra_info("client_addr"))
            assert len(connections) == 1
    finally:
        server.should_exit = True
        await serving
