"""The application: what is mounted where."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute

from connectors.gateway import login, pages, problems
from connectors.gateway.auth.middleware import Authentication
from connectors.gateway.auth.oidc import Issuers, OidcTokens
from connectors.gateway.auth.oidc_login import OidcLogin
from connectors.gateway.body_limit import BodyLimit
from connectors.gateway.client_address import Network, TrustedProxies
from connectors.gateway.cors import Cors
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.gateway_options import GatewayOptions
from connectors.gateway.limits import Budgets, RateLimits, Rates
from connectors.gateway.observed import Observed
from connectors.gateway.own_address import OwnAddress
from connectors.gateway.own_routes import Around, Beside, Ours, OwnApp
from connectors.gateway.protocol import all_protocols
from connectors.gateway.protocols.lg.application import application as lg
from connectors.gateway.refusal_watch import RefusalWatch
from connectors.gateway.strangers import Strangers
from connectors.graphs import Graphs
from core.following.feed import Feed
from core.ingress import Ingress
from core.unread_inputs import UnreadInputs
from schemas.common.metrics import GatewayMetrics
from state import Stores
from streams.kafka_servers import Kafka

RATES = Rates()
OPEN_PATHS = ("/ok", "/login", "/login/", "/auth/")
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


def open_paths() -> tuple[str, ...]:
    """Paths that need no credential."""
    return (*OPEN_PATHS, *(path for protocol in all_protocols() for path in protocol.open_paths))


def make_core(
    bootstrap: Kafka, stores: Stores, options: GatewayOptions, registry: CollectorRegistry, graphs: Graphs
) -> GatewayCore:
    """The core on a Kafka and opened stores; `graphs` are the installation's own."""
    unread = UnreadInputs(options.unread)
    ingress = Ingress(bootstrap, seconds=options.produce_seconds, unread=unread)
    feed = Feed(bootstrap, items=options.stream_items, unread=unread)
    return GatewayCore(stores, ingress, feed, options, GatewayMetrics(registry), graphs)


def make_app(
    core: GatewayCore,
    *,
    rates: Rates = RATES,
    cors: Mapping[str, Any] | None = None,
    own: OwnApp | None = None,
    without: Collection[str] = (),
    public_url: str | None = None,
    trusted_proxies: Sequence[Network] = (),
) -> FastAPI:
    """The application on a core, which it starts and stops.

    `cors` are the rules for pages of other origins, such as Agent Chat UI: arguments of Starlette's middleware. `own` are the
    application's own routes, and `without` the parts of the LangGraph API that are not served. `public_url` is the address at
    which browsers reach it, `trusted_proxies` are networks of proxies that say whom a request is from. Raises `SettingsError`
    for a route that has a path of ours, and for rates that mean nothing.
    """
    issuers, address = Issuers(), OwnAddress(public_url)
    tokens = OidcTokens(core.providers, issuers)
    budgets = Budgets(rates)
    strangers = Strangers(budgets)
    rules = {"allow_methods": ["*"], "allow_headers": ["*"], **(cors or {})}
    rules["expose_headers"] = [*_EXPOSED, *rules.get("expose_headers", ())]

    apis = {"auth", *(protocol.name for protocol in all_protocols())}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await core.start()
        yield
        await core.stop()
        await issuers.close()

    def door(routes: Callable[[], Sequence[BaseRoute]], open_paths: tuple[str, ...], **named: str) -> list[Middleware]:
        """What a request goes through before it comes to one of the routes; `below` and `api` as the middleware has them."""
        ours = Ours(routes)
        around = [Middleware(Around, own=own)] if own and own.has_middleware else []
        beside = [Middleware(Beside, own=own, ours=ours, below=named.get("below", ""))] if own else []
        foreign: dict[str, Any] = (
            {"is_foreign": lambda scope: not ours(scope), "foreign_open": own.opened} if own else {}
        )
        before, after = ([], around) if own and own.auth_first else (around, [])
        return [
            Middleware(TrustedProxies, trusted=trusted_proxies),
            Middleware(Observed, metrics=core.metrics, apis=apis, api=named.get("api")),
            Middleware(RefusalWatch, refused=core.refused),
            Middleware(Cors, rules=rules, others=bool(before)),
            *before,
            Middleware(
                Authentication,
                keys=core.keys,
                sessions=core.sessions,
                tokens=tokens,
                strangers=strangers,
                open_paths=open_paths,
                access=core.access,
                address=address,
                **foreign,
            ),
            Middleware(RateLimits, budgets=budgets),
            *after,
            *beside,
            Middleware(BodyLimit, most=core.options.max_body),
        ]

    app = FastAPI(
        title="Cauce",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        middleware=door(lambda: app.router.routes, open_paths(), below="/lg"),
        exception_handlers=problems.HANDLERS,  # type: ignore[arg-type]
    )
    app.state.core = core
    app.state.oidc = OidcLogin(core.providers, core.sessions, core.login_attempts, issuers, tokens)
    app.state.address = address

    def langgraph_alone() -> Any:
        """The LangGraph API as an application of its own, behind the same door."""
        alone = lg(core, without)
        guarded: Any = alone
        for middleware in reversed(door(lambda: alone.routes, ("/ok",), api="lg")):
            guarded = middleware.cls(guarded, *middleware.args, **middleware.kwargs)
        return guarded

    app.state.langgraph_alone = langgraph_alone
    app.include_router(login.router)
    app.include_router(pages.router)
    for protocol in all_protocols():
        protocol.mount(app, core, without)

    @app.get("/ok", include_in_schema=False)
    async def ok() -> JSONResponse:
        ready = core.ingress.ready and core.feed.ready.is_set()
        return JSONResponse({"ok": ready}, 200 if ready else 503)

    if own:
        own.check(Ours(lambda: app.router.routes))
        own.check(Ours(lambda: lg(core, without).routes))
    return app
