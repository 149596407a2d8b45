"""Converts states and everything else that a graph streams to plain JSON values of the LangGraph API."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, Interrupt, PregelTask, Send, StateSnapshot
from pydantic import BaseModel

from schemas import DEEPEST, storable, storable_text


def to_json(value: Any) -> Any:
    """The value as storable JSON (`schemas.storable`). Never raises: a value without another form becomes its `repr`.

    Messages and pydantic models become objects with their fields, times ISO 8601, durations seconds, bytes base64, sets lists,
    exceptions their `repr`; numbers that JSON cannot represent become null.
    """
    return _plain(value, 0)


def _plain(value: Any, depth: int) -> Any:
    if value is None or type(value) in (bool, int, str):
        return storable(value)
    if depth > DEEPEST:
        return "..."  # a value that contains itself
    try:
        made = _converted(value, depth + 1)
    except BaseException:  # an application's class may raise anything, even SystemExit
        made = _text_of(value)
    return storable(made) if type(made) in (int, str) else made


def _converted(value: Any, depth: int) -> Any:
    match value:
        case Enum():
            return _plain(value.value, depth)
        case bool() | int() | str():
            return int(value) if isinstance(value, int) else str(value)
        case float():
            return value if math.isfinite(value) else None
        case BaseMessage() | BaseModel():
            return _model(value, depth)
        case Interrupt():
            return _interrupt(value, depth)
        case Send():
            return {"node": value.node, "input": _plain(value.arg, depth)}
        case Command():
            fields = {"graph": value.graph, "update": value.update, "resume": value.resume, "goto": value.goto}
            return {name: _plain(field, depth) for name, field in fields.items() if field not in (None, ())}
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case BaseException():
            return repr(value)
        case Decimal():
            return str(value)
    return _container(value, depth)


def _container(value: Any, depth: int) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), depth) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(field, depth) for name, field in value._asdict().items()}
    if isinstance(value, Mapping):
        return {_key(name): _plain(field, depth) for name, field in value.items()}
    if isinstance(value, Set):
        try:
            return [_plain(item, depth) for item in sorted(value)]
        except TypeError:
            return [_plain(item, depth) for item in value]
    if callable(getattr(value, "tolist", None)):  # numpy arrays and numbers
        return _plain(value.tolist(), depth)
    if hasattr(value, "__iter__") and hasattr(value, "__len__"):
        return [_plain(item, depth) for item in value]
    if callable(getattr(value, "model_dump", None)):
        return _plain(value.model_dump(), depth)
    return str(value)


def _model(value: BaseModel, depth: int) -> Any:
    try:
        fields = value.model_dump()
    except Exception:  # a field value that its own model rejects
        fields = {name: getattr(value, name, None) for name in type(value).model_fields}
    return _plain(fields, depth)


def _interrupt(value: Interrupt[Any], depth: int) -> dict[str, Any]:
    schema = value.response_schema
    shown = {"response_schema": _plain(schema, depth)} if isinstance(schema, Mapping) else {}
    return {"value": _plain(value.value, depth), "id": value.id, **shown}


def _key(name: Any) -> str:
    if isinstance(name, str) and not isinstance(name, Enum):
        return storable_text(str.__str__(name))
    plain = to_json(name)
    return plain if isinstance(plain, str) else str(plain)


def _text_of(value: Any) -> str:
    try:
        return repr(value)
    except BaseException:
        return f"<{type(value).__name__}>"


def thread_state(snapshot: StateSnapshot, *, thread_id: str) -> dict[str, Any]:
    """A state as the LangGraph API's ThreadState. For a thread without a checkpoint, the checkpoint's id is null."""
    return {
        "values": to_json(snapshot.values),
        "next": to_json(snapshot.next),
        "tasks": [_task(task, thread_id) for task in snapshot.tasks],
        "metadata": to_json(snapshot.metadata or {}),
        "created_at": snapshot.created_at,
        "checkpoint": _checkpoint(snapshot.config, thread_id),
        "parent_checkpoint": _checkpoint(snapshot.parent_config, thread_id) if snapshot.parent_config else None,
        "interrupts": to_json(snapshot.interrupts),
    }


def _task(task: PregelTask, thread_id: str) -> dict[str, Any]:
    state, checkpoint = None, None
    if isinstance(task.state, StateSnapshot):
        state = thread_state(task.state, thread_id=thread_id)
        checkpoint = state["checkpoint"]
    elif task.state:
        checkpoint = _checkpoint(task.state, thread_id)
    return {
        "id": task.id,
        "name": to_json(task.name),
        "path": to_json(task.path),
        "error": None if task.error is None else to_json(task.error),
        "interrupts": to_json(task.interrupts),
        "checkpoint": checkpoint,
        "state": state,
        "result": to_json(task.result),
    }


def _checkpoint(config: RunnableConfig | Mapping[str, Any], thread_id: str) -> dict[str, Any]:
    configurable = config.get("configurable") or {}
    named = {"thread_id": thread_id, "checkpoint_ns": configurable.get("checkpoint_ns") or ""}
    if "checkpoint_id" in configurable or not named["checkpoint_ns"]:
        named["checkpoint_id"] = configurable.get("checkpoint_id")
    if checkpoint_map := configurable.get("checkpoint_map"):
        named["checkpoint_map"] = dict(checkpoint_map)
    return named
