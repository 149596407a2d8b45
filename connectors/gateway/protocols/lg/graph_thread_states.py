"""States of graphs' threads: looked at, listed, changed by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocols.lg.answer_list import AnswerList
from connectors.gateway.request_parts import mapping, number, text
from core.principal import Principal
from core.refusals import Invalid, unfit
from schemas import ThreadHead

MOST_STATES = 1_000
"""States in one response."""


async def graph_state(
    core: GatewayCore, caller: Principal, thread_id: str, graph: str, *, checkpoint: object, subgraphs: bool
) -> dict[str, Any]:
    """The newest state, or the one of a checkpoint, which is named by its id or as a whole."""
    checkpoint_id, namespace = where(checkpoint)
    return await core.graphs.read(
        caller, thread_id, graph, checkpoint_id=checkpoint_id, namespace=namespace, subgraphs=subgraphs
    )


async def graph_history(
    core: GatewayCore, caller: Principal, thread_id: str, graph: str, body: Mapping[str, Any]
) -> AnswerList:
    """States, the newest first, as many as an answer holds."""
    before, _ = where(body.get("before"))
    checkpoint_id, namespace = where(body.get("checkpoint"))
    limit = number(body.get("limit"), "limit", 10, MOST_STATES)
    found = AnswerList(limit)
    states = core.graphs.history(
        caller,
        thread_id,
        graph,
        limit=limit,
        before=before,
        metadata=mapping(body.get("metadata"), "metadata"),
        namespace=namespace,
        checkpoint_id=checkpoint_id,
    )
    async with aclosing(states):
        async for state in states:
            if not await asyncio.to_thread(found.add, state):  # a state may be much to encode
                break
    return found


async def change_graph_state(
    core: GatewayCore, caller: Principal, thread_id: str, head: ThreadHead, graph: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes into the state as a node would; the answer names the new checkpoint."""
    checkpoint_id, namespace = where_of(body)
    if namespace:
        raise Invalid("not_supported", "checkpoint: the state of a subgraph cannot be updated.")
    as_node = body.get("as_node")
    if as_node is not None and not isinstance(as_node, str):
        raise unfit("as_node", as_node, "the name of a node")
    agent_id = head.agent_id
    if not agent_id and (assistant := await core.assistant(caller, graph)):
        agent_id = assistant.assistant_id
    made = await core.graphs.update(
        caller,
        thread_id,
        head,
        graph,
        agent_id,
        values=body.get("values"),
        as_node=as_node,
        checkpoint_id=checkpoint_id,
    )
    configurable = {"thread_id": thread_id, "checkpoint_ns": "", "checkpoint_id": made}
    return {"checkpoint": {**configurable, "checkpoint_map": None}, "configurable": configurable, "checkpoint_id": made}


def where_of(body: Mapping[str, Any]) -> tuple[str | None, str]:
    """The checkpoint that a body names, by itself or by its id. Raises `Refused`."""
    by_id, found = text(body, "checkpoint_id"), where(body.get("checkpoint"))
    return found if found[0] or found[1] else (by_id, "")


def where(given: object) -> tuple[str | None, str]:
    """The checkpoint's id and its namespace, of an id, a checkpoint, or a config that has one. Raises `Refused`."""
    if given is None or given == {}:
        return None, ""
    if isinstance(given, str):
        return given, ""
    if isinstance(given, Mapping):
        found = given.get("configurable", given)
        if isinstance(found, Mapping):
            checkpoint_id, namespace = found.get("checkpoint_id"), found.get("checkpoint_ns") or ""
            if isinstance(checkpoint_id, str | None) and isinstance(namespace, str):
                return checkpoint_id, namespace
    raise unfit("checkpoint", given, "an id, or an object with checkpoint_id")


Steps = list[list[dict[str, Any]]]


def supersteps_of(body: Mapping[str, Any]) -> Steps:
    """What a new thread's state is to be made of. Raises `Refused`."""
    given = body.get("supersteps") or []
    found = given if isinstance(given, list) else [None]
    steps = [step.get("updates") if isinstance(step, Mapping) else None for step in found]
    if not all(isinstance(step, list) and step and all(isinstance(one, Mapping) for one in step) for step in steps):
        raise unfit("supersteps", given, "a list of objects with updates, each with values and as_node")
    if any(one.get("command") for step in steps for one in step or ()):
        detail = "supersteps: an update can have values and as_node, but not a command."
        raise Invalid("not_supported", detail)
    return [[{"values": one.get("values"), "as_node": one.get("as_node")} for one in step or ()] for step in steps]


async def make_state(
    core: GatewayCore, caller: Principal, thread_id: str, head: ThreadHead, graph: str, steps: Steps
) -> None:
    """The state of a new thread, as if its graph had made these supersteps. Raises `Refused` when the graph refuses them."""
    assistant = await core.assistant(caller, graph)
    await core.graphs.update(
        caller,
        thread_id,
        head,
        graph,
        assistant.assistant_id if assistant else head.agent_id,
        values=None,
        as_node=None,
        checkpoint_id=None,
        supersteps=steps,
    )
