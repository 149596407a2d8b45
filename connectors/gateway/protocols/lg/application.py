"""The application of the LangGraph Server API; it can be mounted below a path, or serve a port of its own."""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import WebSocketRoute

from connectors.gateway import problems
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.permitted_routes import PermittedRoute
from connectors.gateway.protocols.lg import (
    assistant_routes,
    run_routes,
    stateless_routes,
    store_routes,
    thread_routes,
    thread_runs,
    thread_socket,
    v2,
)
from connectors.gateway.protocols.lg.requests import answer
from core.permissions import Operation
from core.refusals import Invalid


def application(core: GatewayCore, without: Collection[str] = ()) -> Starlette:
    """The routes on a core, without those of some parts of the API, by the names that LangGraph's server has for them:
    `assistants`, `threads`, `runs`, `store`, `meta`."""
    routes = [route for route in ROUTES if part_of(route.path) not in without]
    app = Starlette(routes=routes, exception_handlers=problems.HANDLERS)
    app.state.core = core
    return app


def part_of(path: str) -> str:
    """The part of the API that a path belongs to: runs of threads are among runs, as are the thread-centric streams and commands,
    which start and show them."""
    if path in ("/ok", "/info"):
        return "meta" if path == "/info" else ""
    if re.match(r"/threads/[^/]+/(runs|commands|stream)(/|$)", path):
        return "runs"
    return path.split("/")[1]


async def ok(_: Request) -> Response:
    """`GET /ok`."""
    return answer({"ok": True})


async def info(_: Request) -> Response:
    """`GET /info`."""
    return answer(
        {"version": version("cauce"), "flags": {"assistants": True, "crons": False}, "metadata": {"server": "cauce"}}
    )


async def crons(_: Request) -> Response:
    """Schedules: there is no scheduler yet. 422, since clients take a 501 for a server that broke."""
    raise Invalid("not_supported", "Schedules (crons) are not supported; nothing was done.")


async def state_metadata(_: Request) -> Response:
    """The metadata of a checkpoint: it is kept as it was written."""
    detail = "The metadata of a checkpoint cannot be changed; change the thread's: PATCH /threads/{thread}."
    raise Invalid("not_supported", detail)


async def run_alone(_: Request) -> Response:
    """A run by its id alone: runs are found by their threads."""
    detail = "A run is found by its thread: GET /threads/{thread}/runs/{run}/stream, as Content-Location says."
    raise Invalid("not_supported", detail)


_THREAD, _RUN = "/threads/{thread_id}", "/threads/{thread_id}/runs/{run_id}"
_ASSISTANT = "/assistants/{assistant_id}"
_CHANGE = (Operation.KEEP_ASSISTANTS, Operation.CHANGE_SHARED)
"""One's own, or one that others use, too."""

_RUN_IN_A_THREAD = (
    Operation.RUN,
    Operation.CONTINUE,
    Operation.ANSWER,
    Operation.FORK,
    Operation.CHANGE_STATE,
)
"""What a run is follows from its body."""

ROUTES: list[PermittedRoute | WebSocketRoute] = [
    PermittedRoute("/ok", ok, GET=Operation.SEE_SERVER),
    PermittedRoute("/info", info, GET=Operation.SEE_SERVER),
    PermittedRoute("/assistants", assistant_routes.create, POST=(Operation.KEEP_ASSISTANTS, Operation.READ)),
    PermittedRoute("/assistants/search", assistant_routes.search, POST=Operation.READ),
    PermittedRoute("/assistants/count", assistant_routes.count, POST=Operation.READ),
    PermittedRoute(_ASSISTANT, assistant_routes.one, GET=Operation.READ, PATCH=_CHANGE, DELETE=_CHANGE),
    PermittedRoute(f"{_ASSISTANT}/schemas", assistant_routes.schemas, GET=Operation.READ),
    PermittedRoute(f"{_ASSISTANT}/graph", assistant_routes.graph, GET=Operation.READ),
    PermittedRoute(f"{_ASSISTANT}/subgraphs", assistant_routes.subgraphs, GET=Operation.READ),
    PermittedRoute(f"{_ASSISTANT}/subgraphs/{{namespace}}", assistant_routes.subgraphs, GET=Operation.READ),
    PermittedRoute(f"{_ASSISTANT}/versions", assistant_routes.versions, POST=Operation.READ),
    PermittedRoute(f"{_ASSISTANT}/latest", assistant_routes.latest, POST=_CHANGE),
    PermittedRoute("/threads", thread_routes.create, POST=Operation.CHANGE_THREAD),
    PermittedRoute("/threads/search", thread_routes.search, POST=Operation.READ),
    PermittedRoute("/threads/count", thread_routes.count, POST=Operation.READ),
    PermittedRoute("/threads/prune", thread_routes.prune, POST=Operation.CHANGE_THREAD),
    PermittedRoute(
        _THREAD,
        thread_routes.one,
        GET=Operation.READ,
        PATCH=Operation.CHANGE_THREAD,
        DELETE=Operation.CHANGE_THREAD,
    ),
    PermittedRoute(f"{_THREAD}/copy", thread_routes.copy, POST=Operation.CHANGE_THREAD),
    PermittedRoute(f"{_THREAD}/state", thread_routes.state, GET=Operation.READ),
    PermittedRoute(f"{_THREAD}/state", thread_routes.change_state, POST=Operation.CHANGE_STATE),
    PermittedRoute(f"{_THREAD}/state", state_metadata, PATCH=Operation.CHANGE_STATE),
    PermittedRoute(f"{_THREAD}/state/{{checkpoint_id}}", thread_routes.state, GET=Operation.READ, POST=Operation.READ),
    PermittedRoute(f"{_THREAD}/history", thread_routes.history, GET=Operation.READ, POST=Operation.READ),
    PermittedRoute(f"{_THREAD}/commands", v2.commands, POST=_RUN_IN_A_THREAD),
    PermittedRoute(f"{_THREAD}/stream/events", v2.events, POST=Operation.READ),
    PermittedRoute(f"{_THREAD}/stream", thread_runs.join_stream, GET=Operation.READ),
    WebSocketRoute(f"{_THREAD}/stream/events", thread_socket.serve),
    PermittedRoute(f"{_THREAD}/runs", run_routes.listing, GET=Operation.READ),
    PermittedRoute(f"{_THREAD}/runs", run_routes.create, POST=_RUN_IN_A_THREAD),
    PermittedRoute(f"{_THREAD}/runs/stream", run_routes.stream, POST=_RUN_IN_A_THREAD),
    PermittedRoute(f"{_THREAD}/runs/wait", run_routes.wait, POST=_RUN_IN_A_THREAD),
    PermittedRoute(f"{_THREAD}/runs/crons", crons, POST=Operation.RUN),
    PermittedRoute(_RUN, run_routes.one, GET=Operation.READ, DELETE=Operation.CHANGE_THREAD),
    PermittedRoute(f"{_RUN}/join", run_routes.join, GET=Operation.READ),
    PermittedRoute(f"{_RUN}/stream", run_routes.join_stream, GET=Operation.READ),
    PermittedRoute(f"{_RUN}/cancel", run_routes.cancel, POST=Operation.CHANGE_THREAD),
    PermittedRoute("/runs", stateless_routes.create, POST=Operation.RUN),
    PermittedRoute("/runs/cancel", run_routes.cancel_many, POST=Operation.CHANGE_THREAD),
    PermittedRoute("/runs/batch", stateless_routes.batch, POST=Operation.RUN),
    PermittedRoute("/runs/stream", stateless_routes.stream, POST=Operation.RUN),
    PermittedRoute("/runs/wait", stateless_routes.wait, POST=Operation.RUN),
    PermittedRoute("/runs/{run_id}/stream", run_alone, GET=Operation.READ),
    PermittedRoute(
        "/store/items",
        store_routes.items,
        GET=Operation.READ,
        PUT=Operation.KEEP_ITEMS,
        DELETE=Operation.KEEP_ITEMS,
    ),
    PermittedRoute("/store/items/search", store_routes.search, POST=Operation.READ),
    PermittedRoute("/store/namespaces", store_routes.list_namespaces, POST=Operation.READ),
    PermittedRoute("/runs/crons", crons, POST=Operation.RUN),
    PermittedRoute(
        "/runs/crons/{rest:path}",
        crons,
        GET=Operation.RUN,
        POST=Operation.RUN,
        DELETE=Operation.RUN,
        PATCH=Operation.RUN,
    ),
]
