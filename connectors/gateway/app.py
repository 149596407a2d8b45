"""The application: what is mounted where."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware
from starlette.responses import JSONResponse

from connectors.gateway import login, problems
from connectors.gateway.agui import routes as agui
from connectors.gateway.auth import ApiKeys, Sessions
from connectors.gateway.auth.middleware import Authentication
from connectors.gateway.auth.oidc import Issuers, OidcTokens
from connectors.gateway.auth.oidc_login import OidcLogin
from connectors.gateway.body_limit import BodyLimit
from connectors.gateway.core import Core
from connectors.gateway.cors import Cors
from connectors.gateway.feed import Feed
from connectors.gateway.ingress import Ingress
from connectors.gateway.lg.application import application as lg
from connectors.gateway.limits import RateLimits, Rates
from connectors.gateway.metrics import GatewayMetrics, Observed
from connectors.gateway.options import GatewayOptions
from connectors.gateway.v1 import contract
from connectors.gateway.v1 import routes as v1
from connectors.graphs import Graphs
from state import Stores

RATES = Rates()
OPEN_PATHS = ("/ok", "/lg/ok", "/v1/openapi.json", "/v1/docs", "/login", "/auth/")
_EXPOSED = (
    "Content-Location",
    "Location",
    "X-Pagination-Total",
    "X-Pagination-Next",
    "X-Request-Id",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
)


def make_core(
    bootstrap: str, stores: Stores, options: GatewayOptions, registry: CollectorRegistry, graphs: Graphs
) -> Core:
    """The core on a Kafka and opened stores; `graphs` are the installation's own."""
    ingress = Ingress(bootstrap, seconds=options.produce_seconds)
    feed = Feed(bootstrap, items=options.stream_items)
    return Core(stores, ingress, feed, options, GatewayMetrics(registry), graphs)


def make_app(core: Core, *, rates: Rates = RATES, origins: tuple[str, ...] = ()) -> FastAPI:
    """The application on a core, which it starts and stops.

    `origins` are the web origins other than our own that may call it, for pages such as Agent Chat UI.
    """
    directory, credentials = core.stores.directory, core.stores.credentials
    keys, sessions, issuers = ApiKeys(credentials), Sessions(credentials), Issuers()
    tokens = OidcTokens(directory, issuers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await core.start()
        yield
        await core.stop()
        await issuers.close()

    app = FastAPI(
        title="Cauce",
        lifespan=lifespan,
        docs_url="/v1/docs",
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        middleware=[
            Middleware(Observed, metrics=core.metrics),
            Middleware(
                Cors,
                allow_origins=list(origins),
                allow_methods=["*"],
                allow_headers=["*"],
                allow_private_network=True,
                expose_headers=list(_EXPOSED),
            ),
            Middleware(Authentication, keys=keys, sessions=sessions, tokens=tokens, open_paths=OPEN_PATHS),
            Middleware(RateLimits, rates=rates),
            Middleware(BodyLimit, most=core.options.max_body),
        ],
        exception_handlers=problems.HANDLERS,  # type: ignore[arg-type]
    )
    app.state.core, app.state.sessions = core, sessions
    app.state.oidc = OidcLogin(directory, credentials, sessions, issuers, tokens)

    def secured(other: Any) -> Any:
        """Another application behind the same door."""
        limited = RateLimits(BodyLimit(other, most=core.options.max_body), rates=rates)
        guarded = Authentication(limited, keys=keys, sessions=sessions, tokens=tokens, open_paths=("/ok",))
        crossed = Cors(
            guarded,
            allow_origins=list(origins),
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=list(_EXPOSED),
        )
        return Observed(crossed, metrics=core.metrics, api="lg")

    app.state.secured = secured
    app.include_router(v1.router)
    app.include_router(login.router)
    app.mount("/lg", lg(core))
    app.include_router(agui.router)

    @app.get("/ok", include_in_schema=False)
    async def ok() -> JSONResponse:
        ready = core.ingress.ready and core.feed.ready.is_set()
        return JSONResponse({"ok": ready}, 200 if ready else 503)

    app.openapi = contract.document  # type: ignore[method-assign]
    return app
