"""The application of the LangGraph Server API; it can be mounted below a path, or serve a port of its own."""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from connectors.gateway import problems
from connectors.gateway.gateway_core import GatewayCore
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

ROUTES: list[Route | WebSocketRoute] = [
    Route("/ok", ok),
    Route("/info", info),
    Route("/assistants", assistant_routes.create, methods=["POST"]),
    Route("/assistants/search", assistant_routes.search, methods=["POST"]),
    Route("/assistants/count", assistant_routes.count, methods=["POST"]),
    Route(_ASSISTANT, assistant_routes.one, methods=["GET", "PATCH", "DELETE"]),
    Route(f"{_ASSISTANT}/schemas", assistant_routes.schemas),
    Route(f"{_ASSISTANT}/graph", assistant_routes.graph),
    Route(f"{_ASSISTANT}/subgraphs", assistant_routes.subgraphs),
    Route(f"{_ASSISTANT}/subgraphs/{{namespace}}", assistant_routes.subgraphs),
    Route(f"{_ASSISTANT}/versions", assistant_routes.versions, methods=["POST"]),
    Route(f"{_ASSISTANT}/latest", assistant_routes.latest, methods=["POST"]),
    Route("/threads", thread_routes.create, methods=["POST"]),
    Route("/threads/search", thread_routes.search, methods=["POST"]),
    Route("/threads/count", thread_routes.count, methods=["POST"]),
    Route("/threads/prune", thread_routes.prune, methods=["POST"]),
    Route(_THREAD, thread_routes.one, methods=["GET", "PATCH", "DELETE"]),
    Route(f"{_THREAD}/copy", thread_routes.copy, methods=["POST"]),
    Route(f"{_THREAD}/state", thread_routes.state, methods=["GET"]),
    Route(f"{_THREAD}/state", thread_routes.change_state, methods=["POST"]),
    Route(f"{_THREAD}/state", state_metadata, methods=["PATCH"]),
    Route(f"{_THREAD}/state/{{checkpoint_id}}", thread_routes.state, methods=["GET", "POST"]),
    Route(f"{_THREAD}/history", thread_routes.history, methods=["GET", "POST"]),
    Route(f"{_THREAD}/commands", v2.commands, methods=["POST"]),
    Route(f"{_THREAD}/stream/events", v2.events, methods=["POST"]),
    Route(f"{_THREAD}/stream", thread_runs.join_stream),
    WebSocketRoute(f"{_THREAD}/stream/events", thread_socket.serve),
    Route(f"{_THREAD}/runs", run_routes.listing, methods=["GET"]),
    Route(f"{_THREAD}/runs", run_routes.create, methods=["POST"]),
    Route(f"{_THREAD}/runs/stream", run_routes.stream, methods=["POST"]),
    Route(f"{_THREAD}/runs/wait", run_routes.wait, methods=["POST"]),
    Route(f"{_THREAD}/runs/crons", crons, methods=["POST"]),
    Route(_RUN, run_routes.one, methods=["GET", "DELETE"]),
    Route(f"{_RUN}/join", run_routes.join),
    Route(f"{_RUN}/stream", run_routes.join_stream),
    Route(f"{_RUN}/cancel", run_routes.cancel, methods=["POST"]),
    Route("/runs", stateless_routes.create, methods=["POST"]),
    Route("/runs/cancel", run_routes.cancel_many, methods=["POST"]),
    Route("/runs/batch", stateless_routes.batch, methods=["POST"]),
    Route("/runs/stream", stateless_routes.stream, methods=["POST"]),
    Route("/runs/wait", stateless_routes.wait, methods=["POST"]),
    Route("/runs/{run_id}/stream", run_alone),
    Route("/store/items", store_routes.items, methods=["GET", "PUT", "DELETE"]),
    Route("/store/items/search", store_routes.search, methods=["POST"]),
    Route("/store/namespaces", store_routes.list_namespaces, methods=["POST"]),
    Route("/runs/crons", crons, methods=["POST"]),
    Route("/runs/crons/{rest:path}", crons, methods=["GET", "POST", "DELETE", "PATCH"]),
]
