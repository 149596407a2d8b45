"""Assistants: those of hosted graphs, and the tenant's agents, which its administrator makes (`cauce tenant set`).

`?shared=true` shares an assistant of a hosted graph with the tenant, `?shared=false` takes it back: for administrators."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connectors.gateway.protocols.lg import shapes
from connectors.gateway.protocols.lg.answer_list import AnswerList
from connectors.gateway.protocols.lg.requests import answer
from connectors.gateway.request_parts import (
    body_of,
    caller_of,
    core_of,
    is_set,
    large,
    mapping,
    number,
    one_of,
    page_of,
    text,
    texts,
    whole,
)
from core.graph_assistants import Assistant
from core.permissions import Operation, require
from core.principal import Principal
from core.refusals import Conflict, Forbidden, Missing, unfit
from schemas import MAX_METADATA, AgentSettings, Tenant, UnreadableRow, contains

_MESSAGES = {
    "type": "object",
    "properties": {"messages": {"type": "array", "items": {"type": "object"}}},
    "required": ["messages"],
}
_SORTED_BY = ("assistant_id", "graph_id", "name", "created_at", "updated_at")
_MOST_TEXT = 2_000
_BY_ADMINISTRATOR = "Agents are made and changed by the tenant's administrator: cauce tenant set."


@large
async def search(request: Request) -> Response:
    """`POST /assistants/search`."""
    body = await body_of(request)
    by, order = one_of(body, "sort_by", _SORTED_BY), one_of(body, "sort_order", ("asc", "desc"))
    (limit, offset), select = page_of(body), texts(body, "select")
    places = [(str(shown[by]) if by else "", shown["assistant_id"]) async for shown in _fitting(request, body)]
    if by is not None:
        places.sort(key=lambda place: place[0], reverse=order != "asc")
    found = AnswerList(limit)
    for n, (_, name) in enumerate(places[offset : offset + limit]):
        with suppress(Missing):  # it was deleted meanwhile
            shown = await _one(request, name)
            if not found.add(shown if select is None else {key: shown[key] for key in shown if key in select}):
                limit = n
                break
    following = offset + limit if len(places) > offset + limit else None
    return found.answer(following=following, headers={"X-Pagination-Total": str(len(places))})


@large
async def count(request: Request) -> Response:
    """`POST /assistants/count`."""
    return answer(len([0 async for _ in _fitting(request, await body_of(request))]))


async def create(request: Request) -> Response:
    """`POST /assistants`: one more on a hosted graph. Of an agent it gives what is there, when `if_exists` is `do_nothing`."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    exists: Any = one_of(body, "if_exists", ("raise", "do_nothing")) or "raise"
    if text(body, "graph_id") in core.graphs.names:
        tenant, wanted_id = await core.tenant(caller), text(body, "assistant_id")
        made = await core.assistants.create(
            caller,
            tenant,
            _changes(body),
            assistant_id=wanted_id,
            if_exists=exists,
            shared=bool(_shared(request)),
        )
        return answer(shapes.graph_assistant(made.seen_by(caller)))
    found = await _one(request, body.get("graph_id"))
    if exists != "do_nothing":
        raise Conflict("assistant_exists", f"There is an assistant of this graph. {_BY_ADMINISTRATOR}")
    return answer(found)


async def one(request: Request) -> Response:
    """`GET`, `PATCH` and `DELETE /assistants/{id}`. Agents are changed by the tenant's administrator."""
    core, caller, given = core_of(request), caller_of(request), request.path_params["assistant_id"]
    if request.method == "GET" or await _hosted(request) is None:
        found = await _one(request, given)
        if request.method != "GET":
            raise Forbidden("administrator_only", _BY_ADMINISTRATOR)
        return answer(found)
    tenant = await core.tenant(caller)
    if request.method == "DELETE":
        await core.assistants.delete(caller, tenant, given)
        return Response(status_code=204)
    changes = _changes(await body_of(request))
    changed = await core.assistants.change(caller, tenant, given, changes, shared=_shared(request))
    return answer(shapes.graph_assistant(changed.seen_by(caller)))


async def schemas(request: Request) -> Response:
    """`GET /assistants/{id}/schemas`."""
    if assistant := await _hosted(request):
        return answer(await core_of(request).graphs.schemas(caller_of(request), assistant))
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
    """`GET /assistants/{id}/graph`: the nodes and edges; of an agent the way of a turn."""
    if assistant := await _hosted(request):
        xray = _xray(request.query_params.get("xray"))
        return answer(await core_of(request).graphs.drawing(caller_of(request), assistant, xray=xray))
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
    """`GET /assistants/{id}/subgraphs`; an agent has none."""
    if assistant := await _hosted(request):
        namespace, recurse = request.path_params.get("namespace"), is_set(request, "recurse")
        graphs, caller = core_of(request).graphs, caller_of(request)
        return answer(await graphs.subgraphs(caller, assistant, namespace, recurse=recurse))
    await _one(request, request.path_params["assistant_id"])
    return answer({})


@large
async def versions(request: Request) -> Response:
    """`POST /assistants/{id}/versions`, the newest first; of an agent the current one."""
    given = request.path_params["assistant_id"]
    with suppress(UnreadableRow):  # the current version; the others are listed
        if await _hosted(request) is None:
            return answer([await _one(request, given)])
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    tenant = await core.tenant(caller)
    metadata = mapping(body.get("metadata"), "metadata", most=MAX_METADATA)
    limit, offset = page_of(body)
    found, position = AnswerList(limit), 0
    async with aclosing(core.assistants.versions(caller, tenant, given)) as all_of_them:
        async for version in all_of_them:
            shown = shapes.graph_assistant(version.seen_by(caller))
            if not contains(shown["metadata"], metadata):
                continue
            position += 1
            if position > offset and not found.add(shown):
                return found.answer(following=offset + len(found))
    return found.answer()


async def latest(request: Request) -> Response:
    """`POST /assistants/{id}/latest`: makes a version the current one."""
    core, caller, given = core_of(request), caller_of(request), request.path_params["assistant_id"]
    if await _hosted(request) is None:
        await _one(request, given)
        raise Forbidden("administrator_only", _BY_ADMINISTRATOR)
    given_version = (await body_of(request)).get("version")
    if (version := whole(given_version)) is None:
        raise unfit("version", given_version, "a whole number")
    chosen = await core.assistants.choose(caller, await core.tenant(caller), given, version)
    return answer(shapes.graph_assistant(chosen.seen_by(caller)))


def _changes(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an assistant in a body. Raises `Refused`."""
    found = {name: body[name] for name in ("graph_id", "name", "description") if body.get(name) is not None}
    for name, value in found.items():
        if not isinstance(value, str) or len(value) > _MOST_TEXT:
            raise unfit(name, value, f"a string of at most {_MOST_TEXT} characters")
    found |= {
        name: mapping(body[name], name) for name in ("config", "context", "metadata") if body.get(name) is not None
    }
    return found


def _shared(request: Request) -> bool | None:
    """Whether the query asks to share; None if it has no such parameter. Raises `Refused`."""
    given = request.query_params.get("shared")
    if given not in (None, "true", "false"):
        raise unfit("shared", given, "true or false")
    return None if given is None else given == "true"


def _xray(given: str | None) -> int | bool:
    if given is None or given in ("", "true", "True", "false", "False"):
        return given in ("true", "True")
    return number(given, "xray", 0, 100)


async def _hosted(request: Request) -> Assistant | None:
    """The assistant that the path names, where it is one of a hosted graph."""
    caller = caller_of(request)
    require(caller, Operation.READ)
    return await core_of(request).assistant(caller, request.path_params["assistant_id"])


async def _one(request: Request, given: object) -> dict[str, Any]:
    core, caller = core_of(request), caller_of(request)
    return _shown(caller, await core.tenant(caller), await core.agents.find(caller, given))


def _shown(caller: Principal, tenant: Tenant, agent: AgentSettings | Assistant) -> dict[str, Any]:
    return (
        shapes.graph_assistant(agent.seen_by(caller))
        if isinstance(agent, Assistant)
        else shapes.assistant(tenant, agent)
    )


async def _fitting(request: Request, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    """The assistants that a search is for, those of graphs first."""
    core, caller = core_of(request), caller_of(request)
    tenant, graph_id, name = await core.tenant(caller), text(body, "graph_id"), text(body, "name")
    metadata = mapping(body.get("metadata"), "metadata", most=MAX_METADATA)
    own: list[dict[str, Any]] = []

    def fits(shown: Mapping[str, Any]) -> bool:
        named = name is None or name.casefold() in shown["name"].casefold()
        return graph_id in (None, shown["graph_id"]) and named and contains(shown["metadata"], metadata)

    async for agent in core.agents.each(caller):
        shown = _shown(caller, tenant, agent)
        if fits(shown) and isinstance(agent, Assistant):
            yield shown
        elif fits(shown):
            own.append(shown)
    for shown in own:
        yield shown
