"""What LangGraph is called with for a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, Send

from schemas import BadRecord
from schemas.graphs import GraphInterrupt, GraphRequest

_TAKEN_OVER = ("tags", "recursion_limit", "max_concurrency", "run_name")


def place(thread_id: str, checkpoint_id: str | None = None, namespace: str = "") -> RunnableConfig:
    """The config of a thread's state: the newest of a namespace, or that of a checkpoint."""
    where: dict[str, Any] = {"thread_id": thread_id, "checkpoint_ns": namespace}
    return {"configurable": {**where, **({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}}


def run_config(
    request: GraphRequest, *, thread_id: str, run_id: str, assistant_id: str, user_id: str
) -> RunnableConfig:
    """The config of a run: what the client and the assistant gave, and ids of ours, which win.

    A client's keys that begin with two underscores are LangGraph's own switches, and are left out. The context stands in
    `configurable`, too, as LangGraph's servers have it, for graphs that read it there.
    """
    given = request.config
    ours = {
        "thread_id": thread_id,
        "run_id": run_id,
        "user_id": user_id,
        "assistant_id": assistant_id,
        "graph_id": request.graph,
    }
    configurable = {
        name: value
        for name, value in {**request.context, **_mapping(given.get("configurable"))}.items()
        if not name.startswith("__") and name not in ("checkpoint_map", "checkpoint_id")
    }
    place: dict[str, Any] = {"checkpoint_ns": ""}
    if request.checkpoint_id is not None:
        place["checkpoint_id"] = request.checkpoint_id
    config: Any = {
        **{name: given[name] for name in _TAKEN_OVER if given.get(name) is not None},
        "metadata": {**_mapping(given.get("metadata")), **ours},
        "configurable": {**configurable, **ours, "langgraph_auth_user_id": user_id, **place},
    }
    result: RunnableConfig = config
    return result


def _mapping(given: Any) -> dict[str, Any]:
    return dict(given) if isinstance(given, dict) else {}


def graph_input(request: GraphRequest, *, waiting: Sequence[GraphInterrupt] = ()) -> Any:
    """The input of a run: the client's, or its command as LangGraph's own.

    `waiting` is what the thread waits for: LangGraph takes null for an answer only when the interrupt is named. Raises
    `BadRecord` for a command that LangGraph does not know.
    """
    if (command := request.command) is None:
        return request.input
    given: dict[str, Any] = {}
    if command.resumes:
        given["resume"] = command.resume
        if command.resume is None and waiting:
            given["resume"] = {interrupt.id: None for interrupt in waiting}
    if command.update is not None:
        given["update"] = _update(command.update)
    if command.goto is not None:
        given["goto"] = [_goto(to) for to in command.goto] if isinstance(command.goto, list) else _goto(command.goto)
    return Command(**given) if given else request.input


def _update(update: Any) -> Any:
    """Pairs of channel and value are tuples in LangGraph, and lists in JSON."""
    if isinstance(update, list) and all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) for p in update):
        return [tuple(pair) for pair in update]
    return update


def _goto(to: Any) -> str | Send:
    if isinstance(to, str):
        return to
    if isinstance(to, dict) and isinstance(to.get("node"), str):
        return Send(to["node"], to.get("input"))
    raise BadRecord(f"goto is the name of a node, or an object with node and input, not {to!r:.100}")
