"""What LangGraph is called with for a request."""

from __future__ import annotations

import dataclasses
import inspect
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel
from langgraph.types import Command, Send
from pydantic import BaseModel

from connectors.graphs.factories import GraphUser
from schemas import BadRecord
from schemas.graphs import GraphInterrupt, GraphRequest

_TAKEN_OVER = ("tags", "recursion_limit", "max_concurrency", "run_name")
_PLACE = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "run_id", "graph_id", "assistant_id")
"""Names in `configurable` that no client decides on."""


def place(thread_id: str, checkpoint_id: str | None = None, namespace: str = "") -> RunnableConfig:
    """The config of a thread's state: the newest of a namespace, or that of a checkpoint."""
    where: dict[str, Any] = {"thread_id": thread_id, "checkpoint_ns": namespace}
    return {"configurable": {**where, **({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}}


def run_config(
    request: GraphRequest,
    *,
    thread_id: str,
    user_id: str,
    assistant_id: str,
    run_id: str = "",
    request_id: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> RunnableConfig:
    """The config of a run: what the client and the assistant gave, and ids of ours, which win.

    A client's keys that begin with two underscores are LangGraph's own switches, and are left out. The context stands in
    `configurable`, too, as LangGraph's servers have it, for graphs that read it there. Without a `run_id` it is the config of
    a look at the state. `metadata` is the run's own, beside that of the config.
    """
    given = request.config
    ids = {"thread_id": thread_id, "assistant_id": assistant_id, "graph_id": request.graph, "run_id": run_id}
    ours = {name: known for name, known in ids.items() if known}
    user = GraphUser(user_id, request.permissions)
    who = {
        "langgraph_auth_user": user,
        "langgraph_auth_user_id": user_id,
        "langgraph_auth_permissions": list(request.permissions),
        "langgraph_request_id": request_id or run_id,
    }
    place: dict[str, Any] = {"checkpoint_ns": ""}
    if request.checkpoint_id is not None:
        place["checkpoint_id"] = request.checkpoint_id
    config: Any = {
        **{name: given[name] for name in _TAKEN_OVER if given.get(name) is not None},
        "metadata": {**_mapping(given.get("metadata")), **(metadata or {}), **ours},
        "configurable": {"user_id": user_id, **request.context, **_configurable(given), **ours, **who, **place},
    }
    if (known := _uuid(run_id)) is not None:
        config["run_id"] = known
    result: RunnableConfig = config
    return result


def run_context(graph: Pregel[Any, Any, Any, Any], request: GraphRequest) -> dict[str, Any] | None:
    """The context of a run as LangGraph's server makes it: `configurable` counts, too, what the graph's schema does not know is
    left out, and a schema with defaults gets them where nothing is given."""
    given = {**_configurable(request.config), **request.context}
    schema: Any = graph.context_schema
    if not dataclasses.is_dataclass(schema) and not (inspect.isclass(schema) and issubclass(schema, BaseModel)):
        return given or None
    known = _fields(schema)
    return {name: value for name, value in given.items() if known is None or name in known}


def _fields(schema: Any) -> Collection[str] | None:
    """Names that a dataclass or a model takes; None where it takes any."""
    if dataclasses.is_dataclass(schema):
        return {field.name for field in dataclasses.fields(schema) if field.init}
    if schema.model_config.get("extra") == "allow":
        return None
    aliases = (alias for f in schema.model_fields.values() for alias in (f.alias, f.validation_alias))
    return {*schema.model_fields, *(alias for alias in aliases if isinstance(alias, str))}


def _configurable(given: Mapping[str, Any]) -> dict[str, Any]:
    """What of `configurable` is the client's to say."""
    found = _mapping(given.get("configurable"))
    return {name: value for name, value in found.items() if not name.startswith("__") and name not in _PLACE}


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


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
