"""What the handlers have in common: bodies, ids, stream modes, the run that a body asks for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connectors.gateway.auth import Principal
from connectors.gateway.auth.middleware import principal_of
from connectors.gateway.core import Core
from connectors.gateway.lg.projection import MODES
from connectors.gateway.lg.thread_state import dumps
from connectors.gateway.problems import Problem

STRATEGIES = ("enqueue", "reject", "interrupt", "rollback")
_KWARGS = ("input", "command", "config", "context", "stream_mode", "durability")
_NOT_YET = {
    "webhook": "webhooks are not supported; follow the run's stream, or read chat.responses",
    "after_seconds": "runs cannot be delayed yet",
    "interrupt_before": "an agent has no nodes of its own to stop before",
    "interrupt_after": "an agent has no nodes of its own to stop after",
}


def core_of(request: Request) -> Core:
    """The core behind the application."""
    core: Core = request.app.state.core
    return core


def caller_of(request: Request) -> Principal:
    """Who calls."""
    return principal_of(request)


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(dumps(value), status, dict(headers or {}), media_type="application/json")


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request; an empty body is an empty object. Raises `Problem`."""
    raw = await request.body()
    if not raw.strip():
        return {}
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "not_json", f"The body is not JSON: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise Problem(422, "invalid", "The body must be a JSON object.")
    return found


def number(given: object, name: str, default: int, most: int) -> int:
    """A count from a body or a query. Raises `Problem`."""
    if given is None:
        return default
    try:
        found = int(given)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise Problem(422, "invalid", f"{name} must be a number.") from error
    if found < 0:
        raise Problem(422, "invalid", f"{name} must not be negative.")
    return int(min(found, most))


def mapping(given: object, name: str) -> dict[str, Any]:
    """An object of a body, empty when absent. Raises `Problem`."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Problem(422, "invalid", f"{name} must be an object.")
    return given


def modes_of(given: object, default: Sequence[str] = ("values",)) -> tuple[str, ...]:
    """Stream modes: one, a list, or the JSON of a list. Raises `Problem` for one that nobody knows."""
    if given in (None, "", []):
        return tuple(default)
    found = given if isinstance(given, list) else [given]
    if len(found) == 1 and isinstance(found[0], str) and found[0].startswith("["):
        try:
            found = json.loads(found[0])
        except ValueError:
            found = [given]
    for mode in found:
        if mode not in MODES:
            raise Problem(422, "invalid", f"{str(mode)[:40]!r} is no stream mode; there are {', '.join(MODES)}.")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """`RunCreate` as far as it means something here."""

    assistant: object
    given: object
    """The input; None when there is none."""
    resume: object
    """What an interrupt is answered with; None when the run is no resume."""
    modes: tuple[str, ...]
    resumable: bool
    strategy: str
    metadata: Mapping[str, Any]
    kwargs: Mapping[str, Any]
    create_thread: bool
    cancel_when_left: bool
    after_message: int | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> RunRequest:
        """Reads a body. Raises `Problem` for what cannot be done, rather than leaving it out in silence."""
        for name, words in _NOT_YET.items():
            if body.get(name):
                raise Problem(422, "not_supported", f"{name}: {words}.")
        command = mapping(body.get("command"), "command")
        if command.get("goto") or command.get("update"):
            raise Problem(422, "not_supported", "command: only resume can be done with an agent.")
        strategy = body.get("multitask_strategy") or "enqueue"
        if strategy not in STRATEGIES:
            raise Problem(422, "invalid", f"multitask_strategy is one of {', '.join(STRATEGIES)}.")
        return cls(
            assistant=body.get("assistant_id") or "agent",
            given=body.get("input") or None,
            resume=command.get("resume"),
            modes=modes_of(body.get("stream_mode")),
            resumable=bool(body.get("stream_resumable")),
            strategy=strategy,
            metadata=mapping(body.get("metadata"), "metadata"),
            kwargs={name: body[name] for name in _KWARGS if body.get(name) is not None},
            create_thread=body.get("if_not_exists") == "create",
            cancel_when_left=body.get("on_disconnect") == "cancel",
        )
