"""Our own API under `/v1`: plain REST and SSE. `docs/openapi.json` is its contract, checked by the tests."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocol import Protocol


def _mount(app: FastAPI, core: GatewayCore, without: Collection[str]) -> None:
    from connectors.gateway.protocols.v1 import routes

    app.include_router(routes.router)
    app.openapi = routes.document  # type: ignore[method-assign]


PROTOCOL = Protocol(
    name="v1",
    mount=_mount,
    open_paths=("/v1/openapi.json", "/v1/docs", "/v1/docs/"),
)
