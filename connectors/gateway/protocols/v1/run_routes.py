"""Messages, and the runs that answer them: started, waited for, followed, cancelled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from connectors.gateway import problems
from connectors.gateway.answer_bytes import Allowance
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.given_json import GivenJsonRoute
from connectors.gateway.patient import PatientJson
from connectors.gateway.permitted_routes import permitted
from connectors.gateway.protocols.v1 import models as m
from connectors.gateway.protocols.v1.approval_routes import waiting
from connectors.gateway.protocols.v1.event_frames import event_stream
from connectors.gateway.protocols.v1.parameters import (
    LARGE,
    SSE,
    Caller,
    CancelOnDisconnect,
    CoreIn,
    IdempotencyKey,
    LastEventId,
    Limit,
    RunId,
    Seconds,
    Since,
    ThreadId,
)
from core import NewRun
from core.costs import spend
from core.following.position import Position, RunEnd
from core.permissions import Operation, require
from core.principal import Principal
from core.refusals import Invalid, not_found
from core.request_context import current
from core.run_reader import RunPlace
from core.run_views import OVER, RunView, until
from core.thread_branches import waits_for_an_answer

router = APIRouter(tags=["runs"], route_class=GivenJsonRoute)

_CURSOR = r"^[0-9]{1,6}\.[0-9]{0,15}$"
MOST_LOOKED_AT = 2_000
"""Runs that one page is filtered from."""


@router.post(
    "/threads/{thread_id}/messages",
    status_code=202,
    dependencies=[permitted(Operation.RUN, Operation.CONTINUE, Operation.FORK)],
)
async def send_message(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    body: m.MessageIn,
    idempotency_key: IdempotencyKey = None,
) -> m.RunOut:
    """Send a message. The run that answers it is returned immediately; follow the thread, or wait for the run."""
    view, _ = await _start(core, caller, thread_id, body, idempotency_key)
    return m.RunOut.of(view)


@router.post(
    "/threads/{thread_id}/runs",
    status_code=202,
    dependencies=[permitted(Operation.RUN, Operation.CONTINUE, Operation.FORK)],
)
async def start_run(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    body: m.MessageIn,
    idempotency_key: IdempotencyKey = None,
) -> m.RunOut:
    """Equivalent to `POST .../messages`."""
    view, _ = await _start(core, caller, thread_id, body, idempotency_key)
    return m.RunOut.of(view)


@router.post(
    "/threads/{thread_id}/runs/wait",
    response_model=m.RunResult,
    dependencies=[permitted(Operation.RUN, Operation.CONTINUE, Operation.FORK)],
)
async def run_and_wait(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    body: m.MessageIn,
    idempotency_key: IdempotencyKey = None,
    timeout: Seconds = 300,
    cancel_on_disconnect: CancelOnDisconnect = False,
) -> Response:
    """Send a message and wait for the answer. Blank lines precede it while the run works; a failure after they started is a
    problem in the body."""
    with core.counted_stream(caller) as end:
        view, _ = await _start(core, caller, thread_id, body, idempotency_key)
        return _waited(core, caller, view, timeout, cancel=cancel_on_disconnect, on_end=end)


@router.post(
    "/threads/{thread_id}/runs/stream",
    responses=SSE,
    response_class=StreamingResponse,
    dependencies=[permitted(Operation.RUN, Operation.CONTINUE, Operation.FORK)],
)
async def run_and_stream(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    body: m.MessageIn,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Send a message and follow its run to the end, or until it waits for you."""
    with core.counted_stream(caller) as counted:
        view, before = await _start(core, caller, thread_id, body, idempotency_key)
        end = RunEnd(view.run_id, view.last_event if view.status in OVER else None)
        return event_stream(core, caller, thread_id, Position(before), until=end, on_end=counted)


@router.get("/threads/{thread_id}/runs", dependencies=[*LARGE, permitted(Operation.READ)])
async def list_runs(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    status: m.RunStatusName | None = None,
    limit: Limit = 100,
    cursor: Annotated[str | None, Query(description="`next` of the previous page.", pattern=_CURSOR)] = None,
) -> m.RunList:
    """Runs of a thread: those that are not over, then the others, newest first. A page may be shorter than `limit`, or empty, and
    there are more where it has a `next`."""
    found, allowance, looked_at = list[m.RunOut](), Allowance(), 0
    place = after = _place(cursor)
    async with aclosing(core.runs.listed(caller, thread_id, after)) as views:
        async for after, view in views:
            fits = status in (None, view.status)
            if looked_at >= MOST_LOOKED_AT or (fits and (len(found) >= limit or not allowance.takes(view.size))):
                return m.RunList(runs=found, next=f"{place.open}.{place.ended or ''}")
            place, looked_at = after, looked_at + 1
            if fits:
                found.append(m.RunOut.of(view))
    return m.RunList(runs=found, next=None)


@router.get("/threads/{thread_id}/runs/{run_id}", dependencies=[permitted(Operation.READ)])
async def get_run(core: CoreIn, caller: Caller, thread_id: ThreadId, run_id: RunId) -> m.RunOut:
    """A run in its present state, available as soon as it was accepted."""
    return m.RunOut.of(await core.runs.get(caller, thread_id, run_id))


@router.get(
    "/threads/{thread_id}/runs/{run_id}/join", response_model=m.RunResult, dependencies=[permitted(Operation.READ)]
)
async def join_run(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    run_id: RunId,
    timeout: Seconds = 300,
    cancel_on_disconnect: CancelOnDisconnect = False,
) -> Response:
    """Wait for a run. Blank lines precede its result while it works; a failure after they started is a problem in the body."""
    if cancel_on_disconnect:
        require(caller, Operation.CHANGE_THREAD)
    with core.counted_stream(caller) as end:
        view = await core.runs.get(caller, thread_id, run_id)
        return _waited(core, caller, view, timeout, cancel=cancel_on_disconnect, on_end=end)


@router.get(
    "/threads/{thread_id}/runs/{run_id}/stream",
    responses=SSE,
    response_class=StreamingResponse,
    dependencies=[permitted(Operation.READ)],
)
async def follow_run(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    run_id: RunId,
    since: Since = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow a run from its beginning, or after `Last-Event-ID`, to its end."""
    await spend("stream")
    view = await core.runs.get(caller, thread_id, run_id)
    given = Position.parse(last_event_id or since).known((await core.threads.get(caller, thread_id)).next_event - 1)
    position = given if given.seq else Position((view.first_event or 1) - 1)
    return event_stream(core, caller, thread_id, position, until=until(view, position))


@router.post(
    "/threads/{thread_id}/runs/{run_id}/cancel", status_code=202, dependencies=[permitted(Operation.CHANGE_THREAD)]
)
async def cancel_run(core: CoreIn, caller: Caller, thread_id: ThreadId, run_id: RunId) -> m.RunOut:
    """Cancel a run. Its status shows when it has ended; a finished run does not change."""
    await core.runs.cancel(caller, thread_id, run_id)
    return m.RunOut.of(await core.runs.get(caller, thread_id, run_id))


def _place(cursor: str | None) -> RunPlace:
    waiting, _, ended = (cursor or "0.").partition(".")
    return RunPlace(int(waiting), int(ended) if ended else None)


async def _start(
    core: GatewayCore, caller: Principal, thread_id: str, body: m.MessageIn, idempotency_key: str | None
) -> tuple[RunView, int]:
    after = await _after(core, caller, thread_id, body)
    new = NewRun(
        body.text,
        agent_id=body.agent,
        multitask_strategy=body.multitask_strategy,
        metadata=body.metadata,
        idempotency_key=idempotency_key,
        after=after,
        time_zone=body.time_zone,
    )
    return await core.runs.start(caller, thread_id, new)


def _waited(
    core: GatewayCore,
    caller: Principal,
    view: RunView,
    timeout: float,
    *,
    cancel: bool,
    on_end: Callable[[str | None], None],
) -> PatientJson:
    where = f"/v1/threads/{view.thread_id}/runs/{view.run_id}"

    async def result() -> bytes:
        return (await _result(core, caller, view.thread_id, view.run_id, timeout)).model_dump_json().encode()

    return PatientJson(
        result,
        on_error=lambda problem: bytes(problems.response(problem, current().request_id).body),
        heartbeat=core.options.heartbeat,
        headers={"Location": f"{where}/join", "Content-Location": where},
        on_left=partial(core.runs.cancel, caller, view.thread_id, view.run_id) if cancel else None,
        on_end=on_end,
    )


async def _after(core: GatewayCore, caller: Principal, thread_id: str, body: m.MessageIn) -> int | None:
    """The number of the message that this one follows, where it is to replace another. Raises `Refused`."""
    if body.replaces is None:
        if not body.text:
            raise Invalid("invalid", "text: A message needs a text.")
        return None
    branches = await core.threads.branches(caller, thread_id, window=core.options.state_messages)
    found = branches.find(body.replaces)
    if found is None:
        raise not_found("message", body.replaces)
    after = found.seq if found.message.role == "user" and not body.text else branches.before(found)
    if not body.text and not waits_for_an_answer([s.message for s in branches.up_to(after)]):
        raise Invalid("nothing_said", "There is nothing to answer before this message.")
    return after


async def _result(core: GatewayCore, caller: Principal, thread_id: str, run_id: str, timeout: float) -> m.RunResult:
    view = await core.runs.wait(caller, thread_id, run_id, seconds=timeout)
    head = await core.threads.get(caller, thread_id)
    approvals = waiting(thread_id, head) if view.status == "paused" else []
    asked = head.interrupts if head.run and head.run.run_id == run_id else ()
    text = await core.runs.last_answer(caller, view)
    return m.RunResult(
        **m.RunOut.of(view).model_dump(),
        text=text,
        approvals=approvals,
        interrupts=[m.InterruptOut(id=interrupt.id, value=interrupt.value) for interrupt in asked],
    )
