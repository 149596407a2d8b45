"""The routes of `/v1`, one tag each for threads, runs, approvals and the rest."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from connectors.gateway.auth import Principal
from connectors.gateway.auth.middleware import principal_of
from connectors.gateway.core import Core, NewRun
from connectors.gateway.core.run_views import OVER, RunView
from connectors.gateway.core.runs import Runs
from connectors.gateway.problems import Problem
from connectors.gateway.sse import EventStream
from connectors.gateway.thread_position import Position
from connectors.gateway.v1 import models as m
from connectors.gateway.v1.frames import error_frame, thread_frames
from schemas import MessageAdded, ThreadCondition, ThreadHead
from schemas.ids import ID_PATTERN

AUDIT_LOOK = 2_000
"""Newest rows of the tenant's trail in which one's own are looked for."""

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": m.ProblemBody, "content": {"application/problem+json": {}}, "description": words}
    for status, words in {
        400: "The body is not JSON.",
        401: "Who is calling is not known.",
        403: "The credential does not cover this, or the tenant is paused.",
        404: "It is not there, or it is not yours.",
        409: "It is not possible as things stand.",
        413: "The body is too large.",
        422: "The input does not fit.",
        429: "Too often; see Retry-After.",
        503: "A server is away; see Retry-After.",
    }.items()
}
_SSE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Server-sent events."}
}

ThreadId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of a thread.")]
RunId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of a run.")]
CallId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of a tool call.")]
Limit = Annotated[int, Query(ge=1, le=500)]
Since = Annotated[str | None, Query(description="Like the header Last-Event-ID.", max_length=200)]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=200)]
IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", max_length=256, description="The same key twice is one message."),
]
Seconds = Annotated[float, Query(ge=0, le=900, description="Seconds to wait at most.")]


async def _core(request: Request) -> Core:  # FastAPI would send a function that is not async to a thread
    core: Core = request.app.state.core
    return core


async def _caller(request: Request) -> Principal:
    return principal_of(request)


CoreIn = Annotated[Core, Depends(_core)]
Caller = Annotated[Principal, Depends(_caller)]

router = APIRouter(prefix="/v1", responses=_ERRORS)


# ---- threads


@router.post("/threads", status_code=201, tags=["threads"])
async def create_thread(core: CoreIn, caller: Caller, body: m.ThreadIn) -> m.ThreadOut:
    """Make a thread."""
    thread_id, head = await core.threads.create(
        caller, thread_id=body.thread_id, title=body.title, metadata=body.metadata
    )
    return m.ThreadOut.of(core.threads.line(thread_id, head))


@router.get("/threads", tags=["threads"])
async def list_threads(
    core: CoreIn,
    caller: Caller,
    q: Annotated[str, Query(description="Text in the title.", max_length=200)] = "",
    status: ThreadCondition | None = None,
    metadata: Annotated[
        str | None, Query(description='JSON of pairs that must be equal, such as {"colour":"green"}.', max_length=2000)
    ] = None,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(description="`next` of the page before.", max_length=400)] = None,
) -> m.ThreadPage:
    """Your threads, the last changed first."""
    found = await core.threads.search(caller, text=q, metadata=_metadata(metadata), condition=status)
    after = _cursor(cursor)
    if after:
        found = [t for t in found if (-t.updated_at.timestamp(), t.thread_id) > after]
    page, more = found[:limit], len(found) > limit
    following = None
    if more:
        last = page[-1]
        following = base64.urlsafe_b64encode(
            json.dumps([-last.updated_at.timestamp(), last.thread_id]).encode()
        ).decode()
    return m.ThreadPage(threads=[m.ThreadOut.of(t) for t in page], next=following)


@router.get("/threads/{thread_id}", tags=["threads"])
async def get_thread(core: CoreIn, caller: Caller, thread_id: ThreadId) -> m.ThreadOut:
    """One thread."""
    return m.ThreadOut.of(core.threads.line(thread_id, await core.threads.get(caller, thread_id)))


@router.patch("/threads/{thread_id}", tags=["threads"])
async def change_thread(core: CoreIn, caller: Caller, thread_id: ThreadId, body: m.ThreadChange) -> m.ThreadOut:
    """Rename a thread or change its metadata."""
    head = await core.threads.change(caller, thread_id, title=body.title, metadata=body.metadata)
    return m.ThreadOut.of(core.threads.line(thread_id, head))


@router.delete("/threads/{thread_id}", status_code=204, tags=["threads"])
async def delete_thread(core: CoreIn, caller: Caller, thread_id: ThreadId) -> None:
    """Delete a thread and everything in it."""
    await core.threads.delete(caller, thread_id)


@router.get("/threads/{thread_id}/messages", tags=["threads"])
async def list_messages(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    before: Annotated[int | None, Query(ge=1, le=2**53, description="Older than the message of this number.")] = None,
    limit: Limit = 100,
) -> m.MessagePage:
    """Messages of a thread: the newest, or those before one."""
    found = await core.threads.messages(caller, thread_id, before=before, limit=limit)
    older = found[0].seq if len(found) == limit and found[0].seq > 1 else None
    return m.MessagePage(messages=[m.MessageOut.of(s) for s in found], before=older)


@router.get("/threads/{thread_id}/events", tags=["threads"], responses=_SSE, response_class=StreamingResponse)
async def follow_thread(
    core: CoreIn, caller: Caller, thread_id: ThreadId, since: Since = None, last_event_id: LastEventId = None
) -> Response:
    """Follow a thread: its events from the beginning, or after `Last-Event-ID`, and then as they come. Has no end."""
    await core.threads.get(caller, thread_id)
    return _stream(core, caller, thread_id, Position.parse(last_event_id or since), run_id=None)


# ---- messages and runs


@router.post("/threads/{thread_id}/messages", status_code=202, tags=["runs"])
async def send_message(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    body: m.MessageIn,
    idempotency_key: IdempotencyKey = None,
) -> m.RunOut:
    """Send a message. The run that answers it is returned at once; follow the thread, or wait for the run."""
    view, _ = await _start(core, caller, thread_id, body, idempotency_key)
    return m.RunOut.of(view)


@router.post("/threads/{thread_id}/runs", status_code=202, tags=["runs"])
async def start_run(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    body: m.MessageIn,
    idempotency_key: IdempotencyKey = None,
) -> m.RunOut:
    """The same as sending a message."""
    view, _ = await _start(core, caller, thread_id, body, idempotency_key)
    return m.RunOut.of(view)


@router.post("/threads/{thread_id}/runs/wait", tags=["runs"])
async def run_and_wait(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    body: m.MessageIn,
    idempotency_key: IdempotencyKey = None,
    timeout: Seconds = 300,
) -> m.RunResult:
    """Send a message and wait for the answer."""
    view, _ = await _start(core, caller, thread_id, body, idempotency_key)
    return await _result(core, caller, thread_id, view.run_id, timeout)


@router.post("/threads/{thread_id}/runs/stream", tags=["runs"], responses=_SSE, response_class=StreamingResponse)
async def run_and_stream(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    body: m.MessageIn,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Send a message and follow its run to the end, or until it waits for you."""
    view, before = await _start(core, caller, thread_id, body, idempotency_key)
    over = view.last_event if view.status in OVER else None
    return _stream(core, caller, thread_id, Position(before), run_id=view.run_id, last_event=over)


@router.get("/threads/{thread_id}/runs", tags=["runs"])
async def list_runs(
    core: CoreIn, caller: Caller, thread_id: ThreadId, status: m.RunStatusName | None = None, limit: Limit = 100
) -> m.RunList:
    """Runs of a thread, the newest first."""
    found = await core.runs.of_thread(caller, thread_id)
    return m.RunList(runs=[m.RunOut.of(v) for v in found if status in (None, v.status)][:limit])


@router.get("/threads/{thread_id}/runs/{run_id}", tags=["runs"])
async def get_run(core: CoreIn, caller: Caller, thread_id: ThreadId, run_id: RunId) -> m.RunOut:
    """A run as it stands; it is known from the moment that it was accepted."""
    return m.RunOut.of(await core.runs.get(caller, thread_id, run_id))


@router.get("/threads/{thread_id}/runs/{run_id}/join", tags=["runs"])
async def join_run(
    core: CoreIn, caller: Caller, thread_id: ThreadId, run_id: RunId, timeout: Seconds = 300
) -> m.RunResult:
    """Wait for a run."""
    return await _result(core, caller, thread_id, run_id, timeout)


@router.get(
    "/threads/{thread_id}/runs/{run_id}/stream", tags=["runs"], responses=_SSE, response_class=StreamingResponse
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
    view = await core.runs.get(caller, thread_id, run_id)
    given = Position.parse(last_event_id or since)
    position = given if given.seq else Position((view.first_event or 1) - 1)
    over = view.last_event if view.status in OVER else None
    # A pause that is behind it is not where it stops.
    passed = 0 if view.status == "paused" else (await core.threads.get(caller, thread_id)).next_event - 1
    return _stream(core, caller, thread_id, position, run_id=run_id, last_event=over, paused_after=passed)


@router.post("/threads/{thread_id}/runs/{run_id}/cancel", status_code=202, tags=["runs"])
async def cancel_run(core: CoreIn, caller: Caller, thread_id: ThreadId, run_id: RunId) -> m.RunOut:
    """Stop a run. It is over as soon as its status says so; one that is over stays as it is."""
    await core.runs.cancel(caller, thread_id, run_id)
    return m.RunOut.of(await core.runs.get(caller, thread_id, run_id))


# ---- approvals


@router.get("/approvals", tags=["approvals"])
async def list_approvals(core: CoreIn, caller: Caller) -> m.ApprovalList:
    """Everything that waits for you."""
    found: list[m.ApprovalOut] = []
    for line in await core.threads.search(caller, condition="approval"):
        head = await core.threads.find(caller, line.thread_id)
        if head:
            found += _approvals(line.thread_id, head)
    return m.ApprovalList(approvals=found)


@router.post("/threads/{thread_id}/approvals/{call_id}", tags=["approvals"])
async def decide(
    core: CoreIn, caller: Caller, thread_id: ThreadId, call_id: CallId, body: m.DecisionIn
) -> m.DecisionOut:
    """Decide on a call that waits. Of two people who decide, the first counts, and the second is told (409)."""
    settled = await core.runs.decide(caller, thread_id, call_id, body.model_dump())
    return m.DecisionOut(call_id=call_id, decision=settled.decision, by=settled.by, at=settled.at)


# ---- agents, me, audit


@router.get("/agents", tags=["agents"])
async def list_agents(core: CoreIn, caller: Caller) -> m.AgentList:
    """The tenant's agents, and the hosted graphs."""
    caller.require("read")
    tenant = await core.tenant(caller)
    agents = [m.AgentOut.of(a) for a in tenant.agents]
    return m.AgentList(agents=[*agents, *(m.AgentOut.of_graph(a) for a in await core.assistants.all(tenant))])


@router.get("/agents/{agent_id}", tags=["agents"])
async def get_agent(core: CoreIn, caller: Caller, agent_id: Annotated[str, Path(pattern=ID_PATTERN)]) -> m.AgentOut:
    """One agent, or a hosted graph."""
    caller.require("read")
    if (await core.tenant(caller)).agent(agent_id) is None and (found := await core.assistant(caller, agent_id)):
        return m.AgentOut.of_graph(found)
    return m.AgentOut.of(await core.agent(caller, agent_id))


@router.get("/me", tags=["me"])
async def me(core: CoreIn, caller: Caller) -> m.MeOut:
    """Who you are here."""
    user = await core.stores.directory.user(caller.tenant_id, caller.user_id)
    return m.MeOut(
        tenant_id=caller.tenant_id,
        user_id=caller.user_id,
        name=user.name if user else "",
        scopes=sorted(caller.scopes),
        credential=caller.kind,
        expires_at=caller.expires,
        plan={},
        accounts=[],
    )


@router.get("/audit", tags=["me"])
async def my_audit(core: CoreIn, caller: Caller, limit: Limit = 100) -> m.AuditList:
    """What was done for you and by you, the newest last."""
    caller.require("read")
    rows = await core.stores.audit.tail(caller.tenant_id, limit=AUDIT_LOOK)
    own = [row for row in rows if row.event.user_id == caller.user_id][-limit:]
    return m.AuditList(
        events=[
            m.AuditOut(
                event_id=row.event_id, **row.event.model_dump(include=set(m.AuditOut.model_fields) - {"event_id"})
            )
            for row in own
        ]
    )


async def _start(
    core: Core, caller: Principal, thread_id: str, body: m.MessageIn, idempotency_key: str | None
) -> tuple[RunView, int]:
    new = NewRun(
        body.text,
        agent_id=body.agent,
        multitask_strategy=body.multitask_strategy,
        metadata=body.metadata,
        idempotency_key=idempotency_key,
    )
    return await core.runs.start(caller, thread_id, new)


async def _result(core: Core, caller: Principal, thread_id: str, run_id: str, timeout: float) -> m.RunResult:
    view = await core.runs.wait(caller, thread_id, run_id, seconds=timeout)
    head = await core.threads.get(caller, thread_id)
    approvals = _approvals(thread_id, head) if view.status == "paused" else []
    asked = head.run.interrupts if head.run and head.run.paused and head.run.run_id == run_id else ()
    text = await _last_words(core, caller, view)
    return m.RunResult(
        **m.RunOut.of(view).model_dump(),
        text=text,
        approvals=approvals,
        interrupts=[m.InterruptOut(id=interrupt.id, value=interrupt.value) for interrupt in asked],
    )


async def _last_words(core: Core, caller: Principal, view: RunView) -> str:
    """What the agent said last in a run."""
    words, since = "", (view.first_event or 1) - 1
    while True:
        page = await core.stores.journal.events(caller.tenant_id, view.thread_id, since=since)
        for row in page:
            since = row.seq
            if view.last_event and row.seq > view.last_event:
                return words
            if row.type == MessageAdded.TYPE:
                event = MessageAdded.model_validate_json(row.body)
                if event.run_id == view.run_id and event.message.role == "assistant":
                    words = event.message.text or words
        if len(page) < 500:
            return words


def _approvals(thread_id: str, head: ThreadHead) -> list[m.ApprovalOut]:
    return [
        m.ApprovalOut(
            thread_id=thread_id,
            run_id=head.run.run_id if head.run else "",
            call_id=p.call.call_id,
            tool=p.call.name,
            arguments=p.call.arguments,
            last_event=head.next_event - 1,
        )
        for p in Runs.open_approvals(head)
    ]


def _stream(
    core: Core,
    caller: Principal,
    thread_id: str,
    position: Position,
    *,
    run_id: str | None,
    last_event: int | None = None,
    paused_after: int = 0,
) -> EventStream:
    items = core.stream(caller, thread_id).items(position.seq)
    frames = thread_frames(items, position, run_id=run_id, last_event=last_event, paused_after=paused_after)
    return EventStream(
        frames, on_error=error_frame, slow_seconds=core.options.slow_seconds, on_end=core.count_stream(caller)
    )


def _metadata(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Problem(422, "invalid", "metadata must be the JSON of an object.")
    return found


def _cursor(text: str | None) -> tuple[float, str] | None:
    if text is None:
        return None
    try:
        at, thread_id = json.loads(base64.urlsafe_b64decode(text.encode()))
        return float(at), str(thread_id)
    except (ValueError, TypeError) as error:
        raise Problem(422, "invalid", "cursor must be the `next` of a page.") from error
