"""Threads, their states and their histories."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocols.lg import shapes
from connectors.gateway.protocols.lg.agent_threads import agent_history, agent_state, change_agent_state
from connectors.gateway.protocols.lg.answer_list import AnswerList
from connectors.gateway.protocols.lg.graph_thread_states import (
    change_graph_state,
    graph_history,
    graph_state,
    make_state,
    supersteps_of,
)
from connectors.gateway.protocols.lg.message_shapes import to_langchain
from connectors.gateway.protocols.lg.requests import answer, own_title, thread_fields, ttl_of, usual_ttl
from connectors.gateway.request_parts import body_of, caller_of, core_of, large, mapping, one_of, page_of, text, texts
from core.permissions import Operation, require
from core.principal import Principal
from core.refusals import Invalid, Missing, Refused, shown, unfit
from schemas import MAX_METADATA, StoredMessage, ThreadCondition, ThreadHead, ThreadSummary, UnreadableRow, contains

log = logging.getLogger("cauce.gateway")

_CONDITIONS: dict[str, ThreadCondition] = {
    "idle": "idle",
    "busy": "busy",
    "interrupted": "approval",
    "error": "failed",
}
MOST_VALUES = 1_000
"""The last changed threads that a search by values looks at."""
MOST_LOOKED_AT, _AROUND = 32 << 20, 4_000
"""Bytes of messages that such a search looks at, and those that a thread counts without its messages."""
MOST_PRUNED = 1_000
"""Threads of one request."""
_AT_ONCE = 50
"""Threads that are read at a time."""
_SORTED_BY = {
    "thread_id": "thread_id",
    "status": "condition",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "state_updated_at": "updated_at",
}


async def create(request: Request) -> Response:
    """`POST /threads`."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    ttl = ttl_of(body.get("ttl")) or usual_ttl(core)
    metadata, steps = mapping(body.get("metadata"), "metadata"), supersteps_of(body)
    graph = metadata.get("graph_id")
    if steps and graph not in core.graphs.names:
        raise Invalid(
            "invalid",
            f"metadata.graph_id is {shown(graph)}, but must name a hosted graph, whose state the supersteps create.",
        )
    if steps:
        require(caller, Operation.CHANGE_STATE, "graph")
    thread_id, head = await core.threads.create(
        caller,
        thread_id=text(body, "thread_id"),
        **thread_fields(metadata),
        ttl=ttl,
        if_exists="do_nothing" if one_of(body, "if_exists", ("raise", "do_nothing")) == "do_nothing" else "raise",
    )
    if steps and head.next_row == 1:
        try:
            await make_state(core, caller, thread_id, head, str(graph), steps)
        except Refused:
            await core.threads.delete(caller, thread_id)
            raise
        head = await core.threads.get(caller, thread_id)
    return await _shown(core, caller, thread_id, head)


@large
async def one(request: Request) -> Response:
    """`GET`, `PATCH` and `DELETE /threads/{t}`."""
    core, caller, thread_id = core_of(request), caller_of(request), request.path_params["thread_id"]
    if request.method == "DELETE":
        await core.threads.delete(caller, thread_id)
        return Response(status_code=204)
    if request.method == "PATCH":
        body = await body_of(request)
        metadata, ttl = mapping(body.get("metadata"), "metadata"), ttl_of(body.get("ttl"))
        head = await core.threads.change(caller, thread_id, title=own_title(metadata), metadata=metadata, ttl=ttl)
        if "return=minimal" in request.headers.get("prefer", ""):
            return Response(status_code=204)
        return await _shown(core, caller, thread_id, head)
    included = ",".join(request.query_params.getlist("include")).split(",")
    return await _shown(core, caller, thread_id, more=shapes.ttl if "ttl" in included else None)


@large
async def search(request: Request) -> Response:
    """`POST /threads/search`."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    if body.get("extract"):
        detail = "extract is not supported; select values and extract the parts in the client."
        raise Invalid("not_supported", detail)
    by, order = one_of(body, "sort_by", tuple(_SORTED_BY)), one_of(body, "sort_order", ("asc", "desc"))
    select, (limit, offset) = texts(body, "select"), page_of(body)
    places = [
        (getattr(line, _SORTED_BY[by]) if by else None, line.thread_id) async for line in _found(core, caller, body)
    ]
    if by is not None:
        places.sort(key=lambda place: str(place[0]), reverse=order != "asc")
    wanted, window = _wants_values(select), _window(core, select)
    found, following = AnswerList(limit), offset + limit
    for place, (_, thread_id) in enumerate(places[offset : offset + limit], offset):
        thread = await _listed(core, caller, thread_id, values=wanted, window=window)
        if thread is not None and select is not None:
            thread = {name: thread[name] for name in thread if name in select}
        if thread is not None and not found.add(thread):
            following = place
            break
    headers = {"X-Pagination-Total": str(len(places))}
    return found.answer(following=following if len(places) > following else None, headers=headers)


@large
async def count(request: Request) -> Response:
    """`POST /threads/count`."""
    return answer(len([0 async for _ in _found(core_of(request), caller_of(request), await body_of(request))]))


async def prune(request: Request) -> Response:
    """`POST /threads/prune`: deletes threads by their ids; missing ones do not count."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    ids, strategy = body.get("thread_ids"), body.get("strategy") or "delete"
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids) or len(ids) > MOST_PRUNED:
        raise unfit("thread_ids", ids, f"a list of at most {MOST_PRUNED} ids")
    if strategy == "keep_latest":
        detail = "strategy: keep_latest is not supported, because a thread's history is kept whole; use delete."
        raise Invalid("not_supported", detail)
    if strategy != "delete":
        raise unfit("strategy", strategy, "delete or keep_latest")

    async def gone(thread_id: str) -> bool:
        try:
            await core.threads.delete(caller, thread_id)
        except Missing:
            return False
        return True

    ids, pruned = list(dict.fromkeys(ids)), 0
    for n in range(0, len(ids), _AT_ONCE):
        pruned += sum(await asyncio.gather(*(gone(one) for one in ids[n : n + _AT_ONCE])))
    return answer({"pruned_count": pruned})


@large
async def copy(request: Request) -> Response:
    """`POST /threads/{t}/copy`: a new thread with the same messages and state. Runs stay where they ran."""
    core, caller = core_of(request), caller_of(request)
    thread_id, _ = await core.threads.copy(caller, request.path_params["thread_id"])
    if ttl := usual_ttl(core):
        await core.threads.change(caller, thread_id, metadata=None, ttl=ttl)
    return await _shown(core, caller, thread_id)


@large
async def state(request: Request) -> Response:
    """`GET /threads/{t}/state`, and `/state/{checkpoint_id}`, and `POST /state/checkpoint`."""
    core, caller, thread_id = core_of(request), caller_of(request), request.path_params["thread_id"]
    head = await core.threads.get(caller, thread_id)
    given, subgraphs = request.path_params.get("checkpoint_id"), request.query_params.get("subgraphs")
    if given == "checkpoint":
        body = await body_of(request)
        given, subgraphs = mapping(body.get("checkpoint"), "checkpoint"), body.get("subgraphs")
    if graph := await core.graph_of(caller, head):
        more = subgraphs in (True, "1", "true", "True")
        return answer(await graph_state(core, caller, thread_id, graph, checkpoint=given, subgraphs=more))
    return answer(await agent_state(core, caller, thread_id, given))


@large
async def change_state(request: Request) -> Response:
    """`POST /threads/{t}/state`: a change by hand, of a graph's state or of an agent's messages."""
    core, caller, thread_id = core_of(request), caller_of(request), request.path_params["thread_id"]
    head = await core.threads.get(caller, thread_id)
    body = await body_of(request)
    if graph := await core.graph_of(caller, head):
        return answer(await change_graph_state(core, caller, thread_id, head, graph, body))
    return answer(await change_agent_state(core, caller, thread_id, body))


@large
async def history(request: Request) -> Response:
    """`POST` and `GET /threads/{t}/history`: the state after each message, the newest first."""
    core, caller, thread_id = core_of(request), caller_of(request), request.path_params["thread_id"]
    body: Mapping[str, Any] = await body_of(request) if request.method == "POST" else request.query_params
    head = await core.threads.get(caller, thread_id)
    if graph := await core.graph_of(caller, head):
        return (await graph_history(core, caller, thread_id, graph, body)).answer()
    return (await agent_history(core, caller, thread_id, body)).answer()


async def _shown(
    core: GatewayCore,
    caller: Principal,
    thread_id: str,
    head: ThreadHead | None = None,
    *,
    more: Callable[[ThreadHead], dict[str, Any]] | None = None,
) -> Response:
    messages: list[StoredMessage] = []
    if head is None or head.next_message > 1:
        head, messages = await core.threads.read(caller, thread_id, window=core.options.state_messages)
    shown = await _thread(core, caller, thread_id, head, messages)
    return answer({**shown, **more(head)} if more else shown)


async def _thread(
    core: GatewayCore,
    caller: Principal,
    thread_id: str,
    head: ThreadHead,
    messages: list[StoredMessage],
    *,
    values: bool = True,
) -> dict[str, Any]:
    graph, found = await core.graph_of(caller, head), None
    if values and graph:
        found = await core.graphs.values(caller, thread_id, graph)
    elif values:
        found = {"messages": [to_langchain(s.message) for s in messages]}
    return shapes.thread(thread_id, head, found, tenant_id=caller.tenant_id, graph=graph)


async def _listed(
    core: GatewayCore, caller: Principal, thread_id: str, *, values: bool, window: int
) -> dict[str, Any] | None:
    """A thread of a list: with its line alone where its state cannot be read, None where it is deleted since."""
    try:
        head, messages = await core.threads.read(caller, thread_id, window=window)
        return await _thread(core, caller, thread_id, head, messages, values=values)
    except UnreadableRow as error:
        log.warning("shown without its state in a list: %s", error)
        lines = await core.threads.search(caller, ids=[thread_id])
        return shapes.line(lines[0], tenant_id=caller.tenant_id) if lines else None
    except Missing:
        return None


async def _found(core: GatewayCore, caller: Principal, body: Mapping[str, Any]) -> AsyncGenerator[ThreadSummary]:
    metadata, values = (mapping(body.get(name), name, most=MAX_METADATA) for name in ("metadata", "values"))
    status = one_of(body, "status", tuple(_CONDITIONS))
    graphs: Mapping[str, str] = {}
    if "graph_id" in metadata:
        graphs = await core.assistants.graphs_of(await core.tenant(caller))
    looked_at, left = 0, MOST_LOOKED_AT
    wanted: dict[str, Any] = {"ids": texts(body, "ids"), "condition": _CONDITIONS[status] if status else None}
    async with aclosing(core.threads.found(caller, **wanted)) as lines:
        async for line in lines:
            shown = shapes.thread_metadata(line, caller.tenant_id, graphs.get(line.agent_id)) if metadata else {}
            if not contains(shown, metadata):
                continue
            if values:
                # No store can search for them, so the states are read one by one.
                if looked_at >= MOST_VALUES or left <= 0:
                    return
                state, size = await _values_of(core, caller, line.thread_id)
                looked_at, left = looked_at + 1, left - size
                if not contains(state, values):
                    continue
            yield line


async def _values_of(core: GatewayCore, caller: Principal, thread_id: str) -> tuple[Any, int]:
    """The values of a thread, and about how many bytes they have."""
    try:
        head, messages = await core.threads.read(caller, thread_id, window=core.options.state_messages)
        size = sum(len(stored.message.text) for stored in messages)
        return (await _thread(core, caller, thread_id, head, messages))["values"], size + _AROUND
    except (Refused, UnreadableRow):  # it was deleted in the meantime, or its graph is gone
        return None, _AROUND


def _window(core: GatewayCore, select: object) -> int:
    return min(core.options.state_messages, 200) if _wants_values(select) else 0


def _wants_values(select: object) -> bool:
    return not isinstance(select, list) or "values" in select
