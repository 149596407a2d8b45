"""`POST /agui`: run input in, typed events out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from connectors.gateway.client_messages import said_by_whole_history
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.permitted_routes import permitted
from connectors.gateway.protocols.agui.projection import AguiProjection, error_frame
from connectors.gateway.protocols.agui.requests import RunInput
from connectors.gateway.request_parts import body_of, caller_of, core_of, text
from connectors.gateway.sse import EventStream
from core import NewRun, RunView
from core.agents import MESSAGE_MODES
from core.answering import addressed
from core.costs import runs_ahead, spend
from core.graph_assistants import Assistant
from core.permissions import Operation, allows
from core.principal import Principal
from core.refusals import Conflict, Invalid, not_found
from schemas import GraphCommand, GraphRequest, StoredMessage, ThreadHead

router = APIRouter(include_in_schema=False)


@router.post("/agui", dependencies=[permitted(Operation.RUN, Operation.ANSWER, Operation.FORK)])
@router.post("/agui/{agent_id}", dependencies=[permitted(Operation.RUN, Operation.ANSWER, Operation.FORK)])
async def run(request: Request) -> Any:
    """Runs an agent on the user's new messages, or on the answers to its interrupts, and streams what happens.

    A client that leaves before the end stops the run, if it may: that is how clients of this protocol cancel.
    """
    core, caller, wanted = core_of(request), caller_of(request), RunInput.of(await body_of(request))
    given = request.path_params.get("agent_id") or "default"
    agent = await core.agents.find(caller, given)
    assistant = agent if isinstance(agent, Assistant) else None
    if assistant is None:
        wanted.for_agent()
    with core.counted_stream(caller) as counted:
        return await _run(core, caller, wanted, agent.agent_id, assistant, counted)


async def _run(
    core: GatewayCore,
    caller: Principal,
    wanted: RunInput,
    agent_id: str,
    assistant: Assistant | None,
    counted: Callable[[str | None], None],
) -> EventStream:
    thread_id = wanted.thread_id
    async with runs_ahead():
        await core.threads.ensure(caller, thread_id)
        head, messages = await core.threads.read(caller, thread_id, window=core.options.state_messages)
        since = head.next_event - 1
        if wanted.resume:
            view = await _resume(core, caller, thread_id, head, wanted.resume)
        elif known := await core.runs.known(caller, thread_id, _key(wanted.run_id)):
            await spend("stream")
            view, since = known, (known.first_event or head.next_event) - 1
            messages = [stored for stored in messages if stored.message.run_id != known.run_id]
        else:
            new = await _new(core, caller, wanted, head, messages, agent_id, assistant)
            view, since = await core.runs.start(caller, thread_id, new, head=head)
            messages = [stored for stored in messages if new.after is None or stored.seq <= new.after]
    listed = {message.message_id for message in wanted.messages}
    graph = await core.graph_of_run(caller, view, head)
    projection = AguiProjection(
        thread_id,
        wanted.run_id,
        view.run_id,
        head=head,
        history=messages,
        listed=listed,
        state_of=core.graphs.states_of(caller, thread_id, graph) if graph else None,
    )
    leave = partial(core.runs.cancel, caller, thread_id, view.run_id)
    return EventStream(
        projection.frames(core.stream(caller, thread_id).items(since)),
        headers={"Content-Location": f"/v1/threads/{thread_id}/runs/{view.run_id}"},
        on_error=error_frame,
        slow_seconds=core.options.slow_seconds,
        on_left=leave if allows(caller, Operation.CHANGE_THREAD) else None,
        on_end=counted,
    )


@router.post("/agui/threads/{thread_id}/runs/{run_id}/cancel", dependencies=[permitted(Operation.CHANGE_THREAD)])
async def cancel(request: Request) -> Response:
    """Stops the run that a client began under this `runId`; one that is over stays as it is."""
    core, caller = core_of(request), caller_of(request)
    thread_id, run_id = request.path_params["thread_id"], request.path_params["run_id"]
    view = await core.runs.known(caller, thread_id, _key(run_id))
    if view is None:
        raise not_found("run", run_id)
    await core.runs.cancel(caller, thread_id, view.run_id)
    return Response(status_code=202)


def _key(run_id: str) -> str:
    """The idempotency key of a client's run: the same `runId` sent twice is one run."""
    return f"agui {run_id}"


async def _new(
    core: GatewayCore,
    caller: Principal,
    wanted: RunInput,
    head: ThreadHead,
    messages: list[StoredMessage],
    agent_id: str,
    assistant: Assistant | None,
) -> NewRun:
    key = _key(wanted.run_id)
    if assistant is None:
        idle = head.run is None and not head.queued
        spoken = said_by_whole_history(wanted.messages, messages, head.pending, idle=idle)
        return NewRun(
            spoken.text,
            agent_id=agent_id,
            message_id=spoken.message_id,
            idempotency_key=key,
            after=spoken.after,
        )
    values = None
    if wanted.has_state and head.graph == assistant.graph_id:
        values = await core.graphs.values(caller, wanted.thread_id, assistant.graph_id)
    request = wanted.for_graph(assistant, messages, values)
    return NewRun(agent_id=agent_id, graph=request, idempotency_key=key)


async def _resume(
    core: GatewayCore, caller: Principal, thread_id: str, head: ThreadHead, answers: Sequence[Mapping[str, Any]]
) -> RunView:
    if head.interrupts:
        asked = (head.run and head.run.graph) or head.configured or GraphRequest(graph=head.graph)
        return await _answer_graph(core, caller, thread_id, asked, head, answers)
    waiting = {asked.id for asked in head.approvals}
    if head.run is None or not waiting or any(text(a, "interruptId", "resume.") not in waiting for a in answers):
        raise Conflict("no_such_interrupt", "The interrupt that this answers is not open any more.")
    decisions = {str(a["interruptId"]): _decision(a) for a in answers}
    return await core.answering.decide_all(caller, thread_id, head, decisions)


async def _answer_graph(
    core: GatewayCore,
    caller: Principal,
    thread_id: str,
    asked: GraphRequest,
    head: ThreadHead,
    answers: Sequence[Mapping[str, Any]],
) -> RunView:
    """Answers by interrupt; one that was cancelled is answered with null. What was asked for at first stays."""
    resume = {str(text(a, "interruptId", "resume.")): a.get("payload") for a in answers}
    if not set(resume) <= {waiting.id for waiting in head.interrupts}:
        raise Conflict("no_such_interrupt", "The interrupt that this answers is not open any more.")
    command = GraphCommand(resumes=True, resume=resume)
    request = asked.model_copy(
        update={
            "input": None,
            "command": command,
            "checkpoint_id": None,
            "modes": MESSAGE_MODES,
            "permissions": tuple(sorted(caller.scopes)),
        }
    )
    if head.run:
        return await core.answering.resume(caller, thread_id, head, request)
    new = NewRun(agent_id=head.agent_id, graph=addressed(head, request))  # the run that asked has failed
    return (await core.runs.start(caller, thread_id, new, head=head))[0]


def _decision(given: Mapping[str, Any]) -> dict[str, Any]:
    if given.get("status") == "cancelled":
        return {"decision": "reject"}
    payload = given.get("payload")
    if not isinstance(payload, Mapping) or payload.get("decision") not in ("approve", "edit", "reject", "respond"):
        detail = 'The payload of an answer is an object such as {"decision": "approve"}; see responseSchema.'
        raise Invalid("decisions_do_not_fit", detail)
    return {name: payload[name] for name in ("decision", "arguments", "message") if payload.get(name) is not None}
