"""The thread-centric protocol: `commands` do, `stream/events` tells, of all runs of a thread and without end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connectors.gateway.auth import Principal
from connectors.gateway.core import Core
from connectors.gateway.lg import runs
from connectors.gateway.lg.graph_channels import MODES
from connectors.gateway.lg.graph_projection import StateOf
from connectors.gateway.lg.graph_runs import states_of
from connectors.gateway.lg.requests import RunRequest, answer, body_of, caller_of, core_of, mapping
from connectors.gateway.lg.thread_projection import CHANNELS, STEP, ThreadProjection, Wanted
from connectors.gateway.lg.thread_state import ThreadState, dumps
from connectors.gateway.problems import Problem, as_problem
from connectors.gateway.sse import EventStream, frame

_OF_THE_THREAD = ("thread_not_found", "thread_deleted", "thread_id_taken")
_CODES = {404: "no_such_run", 409: "no_such_interrupt", 403: "permission_denied", 422: "invalid_argument"}


# ---- commands


async def commands(request: Request) -> Response:
    """`POST /threads/{t}/commands`: 200 also for a command that is refused; 400 for what is no command."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    number, method = body.get("id"), body.get("method")
    if not isinstance(number, int) or not isinstance(method, str):
        raise Problem(400, "invalid_argument", "A command has an id (a number) and a method.")
    thread_id, parameters = request.path_params["thread_id"], mapping(body.get("params"), "params")
    try:
        if method == "run.start":
            wanted = replace(RunRequest.of(_classic(parameters)), create_thread=True, modes=MODES)
        elif method == "input.respond":
            wanted = replace(RunRequest.of(await _answer(core, caller, thread_id, parameters)), modes=MODES)
        else:
            raise Problem(422, "unknown_command", f"There is no command {method[:60]!r}.")
        started = await runs.start(core, caller, thread_id, wanted)
    except Exception as error:
        problem = as_problem(error)
        if problem.status >= 500 or problem.code in _OF_THE_THREAD:
            raise problem from error
        known = problem.code in ("unknown_command", "no_such_interrupt")
        code = problem.code if known else _CODES.get(problem.status, "unknown_error")
        return answer({"type": "error", "id": number, "error": code, "message": problem.detail})
    result = {"run_id": started.view.run_id}
    return answer(
        {"type": "success", "id": number, "result": result, "meta": {"applied_through_seq": started.since * STEP}}
    )


def _classic(parameters: Mapping[str, Any]) -> dict[str, Any]:
    found = {**parameters, "stream_subgraphs": True}
    if strategy := found.pop("multitaskStrategy", None):
        found["multitask_strategy"] = strategy
    return found


async def _answer(core: Core, caller: Principal, thread_id: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a classic run that answers the thread's interrupts, by their ids."""
    given = parameters.get("responses")
    answers = given if isinstance(given, list) else [parameters]
    if not all(isinstance(a, Mapping) and isinstance(a.get("interrupt_id"), str) for a in answers):
        raise Problem(422, "invalid_argument", "input.respond needs interrupt_id and response.")
    head = await core.threads.get(caller, thread_id)
    resume = {a["interrupt_id"]: a.get("response") for a in answers}
    if head.run is None:
        raise Problem(409, "no_such_interrupt", "Nothing waits for an answer in this thread.")
    return {"assistant_id": head.run.agent_id, "command": {"resume": resume}, "stream_subgraphs": True}


# ---- events


async def events(request: Request) -> Any:
    """`POST /threads/{t}/stream/events`."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    thread_id = request.path_params["thread_id"]
    channels = body.get("channels")
    if not isinstance(channels, list) or not all(isinstance(c, str) for c in channels):
        raise Problem(422, "invalid_argument", f"channels is a list of {', '.join(CHANNELS)}.")
    if unknown := [c for c in channels if c.partition(":")[0] not in CHANNELS]:
        raise Problem(422, "invalid_argument", f"{unknown[0][:40]!r} is no channel; there are {', '.join(CHANNELS)}.")
    since = body.get("since")
    if since is not None and (not isinstance(since, int) or since < 0):
        raise Problem(422, "invalid_argument", "since is the seq of an event.")
    head, messages = await core.threads.read(caller, thread_id, window=core.options.state_messages)
    if since is None:
        # Whoever does not say gets the run that is going: the end of an earlier one would be taken for the end of the next.
        begin = head.run.first_event if head.run and head.run.first_event else head.next_event
        since = begin * STEP - 1
    assistants = await core.assistants.all(await core.tenant(caller))
    projection = ThreadProjection(
        thread_id,
        _wanted(channels, body),
        ThreadState(messages),
        since=since,
        pending=head.pending,
        graphs={a.assistant_id: a.graph_id for a in assistants},
        graph=await core.graph_of(caller, head),
        state_of=_states_of(core, caller, thread_id),
    )
    stream = core.stream(caller, thread_id)
    coming = [event async for event in stream.stored(projection.begin) if event.seq < head.next_event]
    projection.rewind(coming)
    return EventStream(
        projection.frames(stream.items(projection.begin)),
        on_error=_error_frame,
        slow_seconds=core.options.slow_seconds,
        on_end=core.count_stream(caller),
    )


def _wanted(channels: list[str], body: Mapping[str, Any]) -> Wanted:
    """Raises `Problem`."""
    namespaces, depth = body.get("namespaces") or [], body.get("depth")
    fits = isinstance(namespaces, list) and all(
        isinstance(n, list) and all(isinstance(part, str) for part in n) for n in namespaces
    )
    if not fits or not isinstance(depth, int | None):
        raise Problem(422, "invalid_argument", "namespaces is a list of namespaces (lists of text), depth a number.")
    names = {c.partition(":")[2] for c in channels if c.startswith("custom:")}
    return Wanted(
        frozenset(c.partition(":")[0] for c in channels),
        frozenset() if "custom" in channels else frozenset(names),
        tuple(tuple(n) for n in namespaces),
        depth,
    )


def _states_of(core: Core, caller: Principal, thread_id: str) -> StateOf:
    """Reads states by the graph that the thread turns out to be of: a stream may be open before its first run."""
    known: list[StateOf] = []

    async def state_of(checkpoint_id: str, namespace: tuple[str, ...]) -> Any:
        if not known:
            graph = await core.graph_of(caller, await core.threads.get(caller, thread_id))
            if graph is None:
                return None
            known.append(states_of(core, caller, thread_id, graph))
        return await known[0](checkpoint_id, namespace)

    return state_of


def _error_frame(problem: Problem) -> bytes:
    return frame("error", dumps({"type": "error", "error": problem.code, "message": problem.detail}))
