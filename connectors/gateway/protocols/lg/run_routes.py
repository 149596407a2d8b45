"""Runs: classic, with a thread or without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connectors.gateway import request_parts
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.patient import PatientJson
from connectors.gateway.problems import Problem
from connectors.gateway.protocols.lg import shapes
from connectors.gateway.protocols.lg.agent_projection import AgentProjection
from connectors.gateway.protocols.lg.answer_list import AnswerList
from connectors.gateway.protocols.lg.graph_projection import GraphProjection
from connectors.gateway.protocols.lg.message_shapes import to_langchain
from connectors.gateway.protocols.lg.projection import INTERRUPT, error_frame
from connectors.gateway.protocols.lg.requests import RunRequest, answer, modes_of
from connectors.gateway.protocols.lg.starting_runs import Started, start
from connectors.gateway.protocols.lg.thread_state import ThreadState, dumps
from connectors.gateway.request_parts import body_of, caller_of, core_of, is_set, large, page_of
from connectors.gateway.sse import EventStream, FrameReader
from core import RunView
from core.costs import spend
from core.following.position import Position, RunEnd
from core.permissions import Operation, require
from core.principal import Principal
from core.refusals import Invalid, not_found, unfit
from core.run_views import OVER, RunStatus, joins_at, until
from threads.open_questions import Questions

MOST_LISTED = 10_000
"""Runs of a thread that a list by offset reaches: it reads all of them up to there."""
_BULK: dict[str, tuple[RunStatus, ...]] = {
    "pending": ("pending",),
    "running": ("running",),
    "all": ("pending", "running", "paused"),
}
"""What a bulk cancel may ask for."""


def locations(view: RunView, tail: str = "/stream") -> dict[str, str]:
    """Paths below where the API is mounted: clients put its address before them."""
    path = f"/threads/{view.thread_id}/runs/{view.run_id}"
    return {"Location": f"{path}{tail}", "Content-Location": path}


def run_frames(
    core: GatewayCore,
    caller: Principal,
    thread_id: str,
    until: RunEnd,
    modes: Collection[str],
    *,
    graph: str | None,
    state: ThreadState,
    questions: Questions,
    position: Position,
    resumable: bool,
) -> FrameReader:
    """Frames from a position to `until`. `graph` is the run's hosted graph; `state` is what an agent's thread has at the
    position, `questions` what it asks."""
    if graph:
        state_of = core.graphs.states_of(caller, thread_id, graph)
        return GraphProjection(until, modes, position=position, resumable=resumable, state_of=state_of)
    return AgentProjection(thread_id, until, modes, state, position=position, resumable=resumable, questions=questions)


def event_stream(
    core: GatewayCore,
    caller: Principal,
    request: RunRequest,
    started: Started,
    *,
    counted: Callable[[str | None], None],
    then: Callable[[], None] = lambda: None,
) -> EventStream:
    """The response that streams a run from its start, `counted` before that; `then` is called when it ends, also when its client
    disconnects."""
    view = started.view
    position, resumable = Position(started.since), request.resumable
    frames = run_frames(
        core,
        caller,
        view.thread_id,
        RunEnd(view.run_id),
        request.modes,
        graph=started.graph,
        state=ThreadState(started.messages),
        questions=Questions(started.head),
        position=position,
        resumable=resumable,
    )
    items = core.stream(caller, view.thread_id).items(position.seq)
    leave = partial(core.runs.cancel, caller, view.thread_id, view.run_id) if request.cancel_when_left else None

    def end(cut: str | None) -> None:
        counted(cut)
        then()

    return EventStream(
        frames.frames(items),
        headers=locations(view),
        on_error=error_frame,
        slow_seconds=core.options.slow_seconds,
        on_left=leave,
        on_end=end,
    )


async def stream(request: Request) -> Any:
    """`POST /threads/{t}/runs/stream`."""
    core, caller = core_of(request), caller_of(request)
    wanted = RunRequest.of(await body_of(request))
    with core.counted_stream(caller) as counted:
        started = await start(core, caller, request.path_params["thread_id"], wanted)
        return event_stream(core, caller, wanted, started, counted=counted)


async def create(request: Request) -> Response:
    """`POST /threads/{t}/runs`: in the background."""
    core, caller = core_of(request), caller_of(request)
    wanted = RunRequest.of(await body_of(request))
    started = await start(core, caller, request.path_params["thread_id"], wanted)
    view = started.view
    return answer(shapes.run(view, caller.tenant_id), headers=locations(view))


async def wait(request: Request) -> Response:
    """`POST /threads/{t}/runs/wait`."""
    core, caller = core_of(request), caller_of(request)
    wanted = RunRequest.of(await body_of(request))
    with core.counted_stream(caller) as counted:
        started = await start(core, caller, request.path_params["thread_id"], wanted)
        since = started.since if started.resumed else None
        return waited(core, caller, started.view, since, cancel=wanted.cancel_when_left, counted=counted)


@large
async def listing(request: Request) -> Response:
    """`GET /threads/{t}/runs`."""
    core, caller, query = core_of(request), caller_of(request), request.query_params
    (limit, offset), status = page_of(query), query.get("status")
    if limit + offset > MOST_LISTED:
        raise unfit("offset", offset, f"so small that limit and offset are at most {MOST_LISTED} together")
    found, position = AnswerList(limit), 0
    async with aclosing(core.runs.listed(caller, request.path_params["thread_id"])) as views:
        async for _, view in views:
            if status and shapes.RUN_STATUS[view.status] != status:
                continue
            position += 1
            if position > offset and not found.add(shapes.run(view, caller.tenant_id)):
                return found.answer(following=offset + len(found))
    return found.answer()


async def one(request: Request) -> Response:
    """`GET` and `DELETE /threads/{t}/runs/{r}`. A run that is over leaves the lists of runs; its thread stays as it is."""
    core, caller = core_of(request), caller_of(request)
    thread_id, run_id = request.path_params["thread_id"], request.path_params["run_id"]
    if request.method == "DELETE":
        await core.runs.hide(caller, thread_id, run_id)
        return Response(status_code=204)
    view = await core.runs.get(caller, thread_id, run_id)
    return answer(shapes.run(view, caller.tenant_id))


async def join(request: Request) -> Response:
    """`GET /threads/{t}/runs/{r}/join`."""
    core, caller = core_of(request), caller_of(request)
    if cancels := is_set(request, "cancel_on_disconnect"):
        require(caller, Operation.CHANGE_THREAD)
    with core.counted_stream(caller) as counted:
        view = await core.runs.get(caller, request.path_params["thread_id"], request.path_params["run_id"])
        return waited(core, caller, view, None, cancel=cancels, counted=counted)


async def join_stream(request: Request) -> Any:
    """`GET /threads/{t}/runs/{r}/stream`: from where `Last-Event-ID` says, from the beginning for `-1`, else from now on."""
    core, caller = core_of(request), caller_of(request)
    thread_id, run_id = request.path_params["thread_id"], request.path_params["run_id"]
    if cancels := is_set(request, "cancel_on_disconnect"):
        require(caller, Operation.CHANGE_THREAD)
    modes = modes_of(request.query_params.getlist("stream_mode"), ("values", "updates", "messages-tuple", "custom"))
    await spend("stream")
    view = await core.runs.get(caller, thread_id, run_id)
    head, messages = await core.threads.read(caller, thread_id, window=core.options.state_messages)
    given = request.headers.get("last-event-id")
    position = Position.parse(given).known(head.next_event - 1)
    position = joins_at(view, position if given is not None else None)
    stream = core.stream(caller, thread_id)
    graph, state = await core.graph_of_run(caller, view, head), ThreadState(messages)
    if not graph:
        state.without([event async for event in stream.stored(position.seq) if event.seq < head.next_event])
    frames = run_frames(
        core,
        caller,
        thread_id,
        until(view, position),
        modes,
        graph=graph,
        state=state,
        questions=Questions(head),
        position=position,
        resumable=True,
    )
    leave = None
    if cancels:
        leave = partial(core.runs.cancel, caller, thread_id, run_id)
    return EventStream(
        frames.frames(stream.items(position.seq)),
        headers=locations(view),
        on_error=error_frame,
        slow_seconds=core.options.slow_seconds,
        on_left=leave,
        on_end=core.count_stream(caller),
    )


async def cancel(request: Request) -> Response:
    """`POST /threads/{t}/runs/{r}/cancel`."""
    core, caller = core_of(request), caller_of(request)
    thread_id, run_id = request.path_params["thread_id"], request.path_params["run_id"]
    since = (await core.threads.get(caller, thread_id)).next_event - 1
    await core.runs.cancel(caller, thread_id, run_id, rollback=_rolls_back(request))  # also where no wait is left
    if is_set(request, "wait"):
        end = core.count_stream(caller)
        try:
            await core.runs.wait(caller, thread_id, run_id, seconds=core.options.apply_seconds, since=since)
        finally:
            end(None)
        return Response(status_code=204)
    return Response(status_code=202)


async def cancel_many(request: Request) -> Response:
    """`POST /runs/cancel`: runs by their ids, or all of a status, of a thread or of all threads of the caller."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    status, run_ids = request_parts.one_of(body, "status", tuple(_BULK)), request_parts.texts(body, "run_ids")
    request_parts.text(body, "thread_id")  # an empty one does not mean all threads
    if (status is None) == (run_ids is None):
        raise Invalid("invalid", "Give either run_ids or status (pending, running or all).")
    found = await core.runs.cancel_many(
        caller,
        thread_id=body.get("thread_id"),
        run_ids=run_ids,
        statuses=_BULK[status or "all"],
        rollback=_rolls_back(request),
    )
    if not found and run_ids:
        raise not_found("run", run_ids[0])
    return Response(status_code=204)


def _rolls_back(request: Request) -> bool:
    action = request.query_params.get("action") or "interrupt"
    if action not in ("interrupt", "rollback"):
        raise unfit("action", action, "interrupt or rollback")
    return action == "rollback"


def waited(
    core: GatewayCore,
    caller: Principal,
    view: RunView,
    since: int | None,
    *,
    cancel: bool,
    counted: Callable[[str | None], None],
    then: Callable[[], Awaitable[None]] | None = None,
    left: Callable[[], None] = lambda: None,
) -> PatientJson:
    """The response that waits for a run, `wait_seconds` at most, and is `counted` already.

    `cancel` ends the run when its reader leaves. `then` is awaited when the run is over or waits, and `left` is called when the
    reader leaves, or has waited for as long as it may, before that.
    """

    async def values() -> bytes:
        found, ended = await until_over(core, caller, view, since)
        if not ended:
            left()
        elif then:
            await then()
        return dumps(found).encode()

    async def leave() -> None:
        left()
        if cancel:
            await core.runs.cancel(caller, view.thread_id, view.run_id)

    def failed(problem: Problem) -> bytes:
        return dumps({"__error__": {"error": problem.code, "message": problem.detail}}).encode()

    return PatientJson(
        values,
        on_error=failed,
        heartbeat=core.options.heartbeat,
        headers=locations(view, "/join"),
        on_left=leave,
        on_end=counted,
    )


async def until_over(core: GatewayCore, caller: Principal, view: RunView, since: int | None) -> tuple[Any, bool]:
    """The thread's values when the run is over or waits; false where neither is so after `wait_seconds`."""
    seconds = core.options.wait_seconds
    over = await core.runs.wait(caller, view.thread_id, view.run_id, seconds=seconds, since=since)
    head, messages = await core.threads.read(caller, view.thread_id, window=core.options.state_messages)
    if over.status == "failed":
        return {"__error__": shapes.failure(over)}, True
    if graph := await core.graph_of_run(caller, over, head):
        values = await core.graphs.values(caller, view.thread_id, graph)
    else:
        values = {"messages": [to_langchain(s.message) for s in messages]}
    if over.status != "paused":
        return values, over.status in OVER
    return {**(values if isinstance(values, dict) else {}), INTERRUPT: shapes.interrupts(view.thread_id, head)}, True
