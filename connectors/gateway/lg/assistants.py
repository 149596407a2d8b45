"""Assistants: the tenant's agents, which its administrator makes (`cauce tenant set`)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connectors.gateway.lg import shapes
from connectors.gateway.lg.requests import answer, body_of, caller_of, core_of, mapping, number
from connectors.gateway.problems import Problem

_MESSAGES = {
    "type": "object",
    "properties": {"messages": {"type": "array", "items": {"type": "object"}}},
    "required": ["messages"],
}
_BY_ADMINISTRATOR = "Agents are made and changed by the tenant's administrator: cauce tenant set."


async def search(request: Request) -> Response:
    """`POST /assistants/search`."""
    found = await _all(request)
    body = await body_of(request)
    limit, offset = number(body.get("limit"), "limit", 10, 1000), number(body.get("offset"), "offset", 0, 10**6)
    return answer(found[offset : offset + limit], headers={"X-Pagination-Total": str(len(found))})


async def count(request: Request) -> Response:
    """`POST /assistants/count`."""
    return answer(len(await _all(request)))


async def create(request: Request) -> Response:
    """`POST /assistants`: gives the agent of the graph when there is one and `if_exists` is `do_nothing`."""
    body = await body_of(request)
    found = await _one(request, body.get("graph_id"))
    if body.get("if_exists") != "do_nothing":
        raise Problem(409, "assistant_exists", f"There is an assistant of this graph. {_BY_ADMINISTRATOR}")
    return answer(found)


async def one(request: Request) -> Response:
    """`GET /assistants/{id}`; `PATCH` and `DELETE` are the administrator's."""
    found = await _one(request, request.path_params["assistant_id"])
    if request.method != "GET":
        raise Problem(403, "administrator_only", _BY_ADMINISTRATOR)
    return answer(found)


async def schemas(request: Request) -> Response:
    """`GET /assistants/{id}/schemas`."""
    found = await _one(request, request.path_params["assistant_id"])
    nothing: dict[str, Any] = {"type": "object", "properties": {}}
    return answer(
        {
            "graph_id": found["graph_id"],
            "input_schema": _MESSAGES,
            "output_schema": _MESSAGES,
            "state_schema": _MESSAGES,
            "config_schema": nothing,
            "context_schema": nothing,
        }
    )


async def graph(request: Request) -> Response:
    """`GET /assistants/{id}/graph`: the way of a turn."""
    await _one(request, request.path_params["assistant_id"])
    names = ("__start__", "agent", "tools", "__end__")
    nodes = [
        {"id": name, "type": "schema" if name.startswith("__") else "runnable", "data": {"name": name}}
        for name in names
    ]
    edges = [
        {"source": "__start__", "target": "agent"},
        {"source": "agent", "target": "tools", "conditional": True},
        {"source": "agent", "target": "__end__", "conditional": True},
        {"source": "tools", "target": "agent"},
    ]
    return answer({"nodes": nodes, "edges": edges})


async def subgraphs(request: Request) -> Response:
    """`GET /assistants/{id}/subgraphs`: none."""
    await _one(request, request.path_params["assistant_id"])
    return answer({})


async def versions(request: Request) -> Response:
    """`POST /assistants/{id}/versions`: the current one."""
    return answer([await _one(request, request.path_params["assistant_id"])])


async def latest(request: Request) -> Response:
    """`POST /assistants/{id}/latest`: the administrator's."""
    await _one(request, request.path_params["assistant_id"])
    raise Problem(403, "administrator_only", _BY_ADMINISTRATOR)


async def _one(request: Request, given: object) -> dict[str, Any]:
    caller = caller_of(request)
    caller.require("read")
    tenant = await core_of(request).tenant(caller)
    return shapes.assistant(tenant, shapes.find_agent(tenant, given))


async def _all(request: Request) -> list[dict[str, Any]]:
    caller, body = caller_of(request), await body_of(request)
    caller.require("read")
    tenant = await core_of(request).tenant(caller)
    found = [shapes.assistant(tenant, agent) for agent in tenant.agents]
    if graph_id := body.get("graph_id"):
        found = [a for a in found if a["graph_id"] == graph_id]
    if name := body.get("name"):
        found = [a for a in found if str(name).casefold() in a["name"].casefold()]
    metadata = mapping(body.get("metadata"), "metadata")
    return [a for a in found if all(a["metadata"].get(key) == value for key, value in metadata.items())]
