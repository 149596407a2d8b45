"""The arguments with which LangGraph is called for a request."""

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
from core.reserved_names import PLACE, identity_of, is_reserved_metadata, without_reserved
from schemas import BadRecord
from schemas.graphs import GraphInterrupt, GraphRequest

_TAKEN_OVER = ("tags", "recursion_limit", "max_concurrency", "run_name")


def place(thread_id: str, checkpoint_id: str | None = None, namespace: str = "") -> RunnableConfig:
    """The config of a thread's state: the newest one of a namespace, or that of a checkpoint."""
    where: dict[str, Any] = {"thread_id": thread_id, "checkpoint_ns": namespace}
    return {"configurable": {**where, **({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}}


def run_config(
    request: GraphRequest,
    *,
    thread_id: str,
    tenant_id: str,
    user_id: str,
    assistant_id: str,
    run_id: str = "",
    request_id: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> RunnableConfig:
    """The config of a run: the values of client and assistant, and our own: its ids, and who its user is.

    Names that are ours or LangGraph's own are removed from others' values (`core/reserved_names.py`). The context is also
    put into `configurable`, as on LangGraph's servers, for graphs that read it there. Without a `run_id` it is a config for
    reading the state. `metadata` is that of the run, added to that of the config.
    """
    given = request.config
    ids = {"thread_id": thread_id, "assistant_id": assistant_id, "graph_id": request.graph, "run_id": run_id}
    ours = {name: known for name, known in ids.items() if known}
    user = GraphUser(identity_of(tenant_id, user_id), request.permissions)
    who = {
        "tenant_id": tenant_id,
        "user_id": user_id,
        "langgraph_auth_user": user,
        "langgraph_auth_user_id": user.identity,
        "langgraph_auth_permissions": list(request.permissions),
        "langgraph_request_id": request_id or run_id,
    }
    place: dict[str, Any] = {"checkpoint_ns": ""}
    if request.checkpoint_id is not None:
        place["checkpoint_id"] = request.checkpoint_id
    config: Any = {
        **{name: given[name] for name in _TAKEN_OVER if given.get(name) is not None},
        "metadata": {**_metadata({**_mapping(given.get("metadata")), **(metadata or {})}), **ours},
        "configurable": {**without_reserved(request.context), **_configurable(given), **ours, **who, **place},
    }
    if (known := _uuid(run_id)) is not None:
        config["run_id"] = known
    result: RunnableConfig = config
    return result


def run_context(graph: Pregel[Any, Any, Any, Any], request: GraphRequest) -> dict[str, Any] | None:
    """The context of a run as LangGraph's server computes it: includes `configurable`, drops keys unknown to the graph's schema,
    and applies the schema's defaults."""
    given = {**_configurable(request.config), **without_reserved(request.context)}
    schema: Any = graph.context_schema
    if not dataclasses.is_dataclass(schema) and not (inspect.isclass(schema) and issubclass(schema, BaseModel)):
        return given or None
    known = _fields(schema)
    return {name: value for name, value in given.items() if known is None or name in known}


def _fields(schema: Any) -> Collection[str] | None:
    """Field names that a dataclass or a model accepts; None if it accepts any."""
    if dataclasses.is_dataclass(schema):
        return {field.name for field in dataclasses.fields(schema) if field.init}
    if schema.model_config.get("extra") == "allow":
        return None
    aliases = (alias for f in schema.model_fields.values() for alias in (f.alias, f.validation_alias))
    return {*schema.model_fields, *(alias for alias in aliases if isinstance(alias, str))}


def _configurable(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `configurable` that the client may set."""
    found = without_reserved(_mapping(given.get("configurable")))
    return {name: value for name, value in found.items() if name not in PLACE}


def _metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if not is_reserved_metadata(name)}


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _mapping(given: Any) -> dict[str, Any]:
    return dict(given) if isinstance(given, dict) else {}


def graph_input(request: GraphRequest, *, waiting: Sequence[GraphInterrupt] = ()) -> Any:
    """The input of a run: the client's input, or its command converted to LangGraph's `Command`.

    `waiting` are the interrupts that the thread waits for: LangGraph accepts null as an answer only if it names the interrupt.
    Raises `BadRecord` for a command that LangGraph does not support.
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
    """Converts pairs of channel and value, which are lists in JSON, to LangGraph's tuples."""
    if isinstance(update, list) and all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) for p in update):
        return [tuple(pair) for pair in update]
    return update


def _goto(to: Any) -> str | Send:
    if isinstance(to, str):
        return to
    if isinstance(to, dict) and isinstance(to.get("node"), str):
        return Send(to["node"], to.get("input"))
    raise BadRecord(f"goto must be the name of a node, or an object with node and input, not {to!r:.100}")
