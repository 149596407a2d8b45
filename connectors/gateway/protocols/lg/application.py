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
from connectors.gateway.protocols.lg import assistants, runs, stateless, store, thread_runs, thread_socket, threads, v2
from connectors.gateway.protocols.lg.requests import answer
from core.errors import Invalid


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
    words = "The metadata of a checkpoint cannot be changed; change the thread's: PATCH /threads/{thread}."
    raise Invalid("not_supported", words)


async def run_alone(_: Request) -> Response:
    """A run by its id alone: runs are found by their threads."""
    words = "A run is found by its thread: GET /threads/{thread}/runs/{run}/stream, as Content-Location says."
    raise Invalid("not_supported", words)


_THREAD, _RUN = "/threads/{thread_id}", "/threads/{thread_id}/runs/{run_id}"
_ASSISTANT = "/assistants/{assistant_id}"

ROUTES: list[Route | WebSocketRoute] = [
    Route("/ok", ok),
    Route("/info", info),
    Route("/assistants", assistants.create, methods=["POST"]),
    Route("/assistants/search", assistants.search, methods=["POST"]),
    Route("/assistants/count", assistants.count, methods=["POST"]),
    Route(_ASSISTANT, assistants.one, methods=["GET", "PATCH", "DELETE"]),
    Route(f"{_ASSISTANT}/schemas", assistants.schemas),
    Route(f"{_ASSISTANT}/graph", assistants.graph),
    Route(f"{_ASSISTANT}/subgraphs", assistants.subgraphs),
    Route(f"{_ASSISTANT}/subgraphs/{{namespace}}", assistants.subgraphs),
    Route(f"{_ASSISTANT}/versions", assistants.versions, methods=["POST"]),
    Route(f"{_ASSISTANT}/latest", assistants.latest, methods=["POST"]),
    Route("/threads", threads.create, methods=["POST"]),
    Route("/threads/search", threads.search, methods=["POST"]),
    Route("/threads/count", threads.count, methods=["POST"]),
    Route("/threads/prune", threads.prune, methods=["POST"]),
    Route(_THREAD, threads.one, methods=["GET", "PATCH", "DELETE"]),
    Route(f"{_THREAD}/copy", threads.copy, methods=["POST"]),
    Route(f"{_THREAD}/state", threads.state, methods=["GET"]),
    Route(f"{_THREAD}/state", threads.change_state, methods=["POST"]),
    Route(f"{_THREAD}/state", state_metadata, methods=["PATCH"]),
    Route(f"{_THREAD}/state/{{checkpoint_id}}", threads.state, methods=["GET", "POST"]),
    Route(f"{_THREAD}/history", threads.history, methods=["GET", "POST"]),
    Route(f"{_THREAD}/commands", v2.commands, methods=["POST"]),
    Route(f"{_THREAD}/stream/events", v2.events, methods=["POST"]),
    Route(f"{_THREAD}/stream", thread_runs.join_stream),
    WebSocketRoute(f"{_THREAD}/stream/events", thread_socket.serve),
    Route(f"{_THREAD}/runs", runs.listing, methods=["GET"]),
    Route(f"{_THREAD}/runs", runs.create, methods=["POST"]),
    Route(f"{_THREAD}/runs/stream", runs.stream, methods=["POST"]),
    Route(f"{_THREAD}/runs/wait", runs.wait, methods=["POST"]),
    Route(f"{_THREAD}/runs/crons", crons, methods=["POST"]),
    Route(_RUN, runs.one, methods=["GET", "DELETE"]),
    Route(f"{_RUN}/join", runs.join),
    Route(f"{_RUN}/stream", runs.join_stream),
    Route(f"{_RUN}/cancel", runs.cancel, methods=["POST"]),
    Route("/runs", stateless.create, methods=["POST"]),
    Route("/runs/cancel", runs.cancel_many, methods=["POST"]),
    Route("/runs/batch", stateless.batch, methods=["POST"]),
    Route("/runs/stream", stateless.stream, methods=["POST"]),
    Route("/runs/wait", stateless.wait, methods=["POST"]),
    Route("/runs/{run_id}/stream", run_alone),
    Route("/store/items", store.items, methods=["GET", "PUT", "DELETE"]),
    Route("/store/items/search", store.search, methods=["POST"]),
    Route("/store/namespaces", store.list_namespaces, methods=["POST"]),
    Route("/runs/crons", crons, methods=["POST"]),
    Route("/runs/crons/{rest:path}", crons, methods=["GET", "POST", "DELETE", "PATCH"]),
]
