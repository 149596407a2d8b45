"""The thread-centric protocol: `commands` acts, `stream/events` streams all runs of a thread without end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.problems import Problem, as_problem
from connectors.gateway.protocols.lg.graph_channels import MODES
from connectors.gateway.protocols.lg.requests import RunRequest, answer
from connectors.gateway.protocols.lg.starting_runs import start
from connectors.gateway.protocols.lg.thread_projection import CHANNELS, STEP, ThreadProjection, Wanted
from connectors.gateway.protocols.lg.thread_state import ThreadState, dumps
from connectors.gateway.request_parts import body_of, caller_of, core_of, mapping
from connectors.gateway.sse import EventStream, frame
from connectors.graphs.graph_states import StateOf
from core.costs import spend
from core.following.thread_stream import StreamItem
from core.principal import Principal
from core.refusals import Conflict, Invalid, shown, unfit
from schemas import ThreadHead

_OF_THE_REQUEST = ("rate_limited", "thread_not_found", "thread_deleted", "thread_id_taken")
_BY_CODE = {name: name for name in ("unknown_command", "no_such_interrupt", "no_such_subscription")}
_BY_CODE["checkpoint_not_found"] = "no_such_checkpoint"
_CODES = {
    404: "no_such_run",
    409: "no_such_interrupt",
    403: "permission_denied",
    413: "invalid_argument",
    422: "invalid_argument",
}


async def commands(request: Request) -> Response:
    """`POST /threads/{t}/commands`: 200 also for a command that is refused; 400 for what is no command."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    number, method = body.get("id"), body.get("method")
    if not isinstance(number, int) or not isinstance(method, str):
        raise Problem(400, "invalid_argument", no_command(number, method))
    parameters = mapping(body.get("params"), "params")
    return answer(await obey(core, caller, request.path_params["thread_id"], number, method, parameters))


def no_command(number: object, method: object) -> str:
    """Why something is no command."""
    return f"A command must have a number as id and a string as method, not {shown(number)} and {shown(method)}."


async def obey(
    core: GatewayCore, caller: Principal, thread_id: str, number: int, method: str, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Executes a command; returns its response. Raises `Refused` for another user's thread or an unavailable server."""
    try:
        if method == "run.start":
            body = await _start(core, caller, thread_id, parameters)
            wanted = replace(RunRequest.of(body), create_thread=True, modes=MODES)
        elif method == "input.respond":
            wanted = replace(RunRequest.of(await _answer(core, caller, thread_id, parameters)), modes=MODES)
        else:
            raise Invalid("unknown_command", f"There is no command {method[:60]!r}.")
        started = await start(core, caller, thread_id, wanted)
    except Exception as error:
        problem = as_problem(error)
        if problem.status >= 500 or problem.code in _OF_THE_REQUEST:
            raise problem from error
        return refusal(number, problem)
    meta = {"applied_through_seq": (started.since + 1) * STEP - 1}
    return {"type": "success", "id": number, "result": {"run_id": started.view.run_id}, "meta": meta}


def refusal(number: int | None, problem: Problem) -> dict[str, Any]:
    """What a command is answered that is not done."""
    code = _BY_CODE.get(problem.code) or _CODES.get(problem.status, "unknown_error")
    return {"type": "error", "id": number, "error": code, "message": problem.detail}


def _classic(parameters: Mapping[str, Any]) -> dict[str, Any]:
    found = {**parameters, "stream_subgraphs": True}
    if strategy := found.pop("multitaskStrategy", None):
        found["multitask_strategy"] = strategy
    return found


async def _start(core: GatewayCore, caller: Principal, thread_id: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a classic run. The input of a thread whose graph asks is the answer, whatever it looks like."""
    body = _classic(parameters)
    given = body.get("input")
    head = None if given is None or body.get("command") else await core.threads.find_or_free(caller, thread_id)
    if head and head.run and head.interrupts:
        del body["input"]
        body["command"] = {"resume": given}
    return body


async def _answer(
    core: GatewayCore, caller: Principal, thread_id: str, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The body of a classic run that answers the thread's interrupts, by their ids."""
    given = parameters.get("responses")
    answers = given if isinstance(given, list) else [parameters]
    for one in answers:
        if not isinstance(one, Mapping) or not isinstance(one.get("interrupt_id"), str):
            raise unfit("input.respond", one, "an object with interrupt_id and response", code="invalid_argument")
    head = await core.threads.get(caller, thread_id)
    resume = {a["interrupt_id"]: a.get("response") for a in answers}
    if head.run is None and not head.interrupts:
        raise Conflict("no_such_interrupt", "Nothing waits for an answer in this thread.")
    command = {"resume": resume} | {
        name: parameters[name] for name in ("update", "goto") if parameters.get(name) is not None
    }
    more = {name: parameters[name] for name in ("config", "metadata") if parameters.get(name) is not None}
    agent_id = head.run.agent_id if head.run else head.agent_id
    return {"assistant_id": agent_id, "command": command, "stream_subgraphs": True, **more}


async def events(request: Request) -> Any:
    """`POST /threads/{t}/stream/events`."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    wanted, since = subscription(body)
    await spend("stream")
    projection, items = await opened(core, caller, request.path_params["thread_id"], wanted, since, request.headers)
    return EventStream(
        projection.frames(items),
        on_error=_error_frame,
        slow_seconds=core.options.slow_seconds,
        on_end=core.count_stream(caller),
    )


def subscription(body: Mapping[str, Any]) -> tuple[Wanted, int | None]:
    """What a reader wants, and from where on. Raises `Refused`."""
    channels = body.get("channels")
    if not isinstance(channels, list) or not all(isinstance(c, str) for c in channels):
        raise unfit("channels", channels, f"a list of {', '.join(CHANNELS)}", code="invalid_argument")
    if unknown := [c for c in channels if c.partition(":")[0] not in CHANNELS]:
        raise Invalid(
            "invalid_argument", f"{unknown[0][:40]!r} is not a channel; the channels are {', '.join(CHANNELS)}."
        )
    since = body.get("since")
    if since is not None and (not isinstance(since, int) or since < 0):
        raise unfit("since", since, "the seq of an event, 0 or more", code="invalid_argument")
    return _wanted(channels, body), since


async def opened(
    core: GatewayCore, caller: Principal, thread_id: str, wanted: Wanted, since: int | None, headers: Mapping[str, str]
) -> tuple[ThreadProjection, AsyncIterator[StreamItem]]:
    """A thread as a reader gets it, and what comes for it. Raises `Refused` when there is none."""
    head, messages = await core.threads.read(caller, thread_id, window=core.options.state_messages)
    graphs = await core.assistants.graphs_of(await core.tenant(caller))
    projection = ThreadProjection(
        thread_id,
        wanted,
        ThreadState(messages),
        since=since,
        head=head,
        active=since is None and await _has_active_run(core, caller, thread_id, head),
        graphs=graphs,
        graph=await core.graph_of(caller, head),
        state_of=_states_of(core, caller, thread_id),
        state_now=partial(_state_now, core, caller, thread_id),
        # LangGraph's client for Python takes what a graph writes as it is; others read `payload`, as the protocol has it.
        wrap_custom="python" not in (agent := headers.get("user-agent", "").lower()) and "sdk-py" not in agent,
    )
    stream = core.stream(caller, thread_id)
    coming = [event async for event in stream.stored(projection.begin) if event.seq < head.next_event]
    projection.rewind(coming)
    return projection, stream.items(projection.begin)


def _wanted(channels: list[str], body: Mapping[str, Any]) -> Wanted:
    """Raises `Refused`."""
    namespaces, depth = body.get("namespaces") or [], body.get("depth")
    fits = isinstance(namespaces, list) and all(
        isinstance(n, list) and all(isinstance(part, str) for part in n) for n in namespaces
    )
    if not fits or not isinstance(depth, int | None):
        raise Invalid("invalid_argument", "namespaces is a list of namespaces (lists of text), depth a number.")
    names = {c.partition(":")[2] for c in channels if c.startswith("custom:")}
    return Wanted(
        frozenset(c.partition(":")[0] for c in channels),
        frozenset() if "custom" in channels else frozenset(names),
        tuple(tuple(n) for n in namespaces),
        depth,
    )


async def _has_active_run(core: GatewayCore, caller: Principal, thread_id: str, head: ThreadHead) -> bool:
    """Whether a run was active when `head` was read, or is now: the end of either is still to be sent."""
    if head.run or head.queued:
        return True
    async with aclosing(core.runs.unfinished(caller, thread_id)) as runs:
        return await anext(runs, None) is not None


async def _state_now(core: GatewayCore, caller: Principal, thread_id: str) -> ThreadState:
    return ThreadState((await core.threads.read(caller, thread_id, window=core.options.state_messages))[1])


def _states_of(core: GatewayCore, caller: Principal, thread_id: str) -> StateOf:
    """Reads states by the graph that the thread turns out to be of: a stream may be open before its first run."""
    known: list[StateOf] = []

    async def state_of(checkpoint_id: str, namespace: tuple[str, ...]) -> Any:
        if not known:
            graph = await core.graph_of(caller, await core.threads.get(caller, thread_id))
            if graph is None:
                return None
            known.append(core.graphs.states_of(caller, thread_id, graph))
        return await known[0](checkpoint_id, namespace)

    return state_of


def _error_frame(problem: Problem) -> bytes:
    return frame("error", dumps({"type": "error", "error": problem.code, "message": problem.detail}))
