"""`POST /agui`: run input in, typed events out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from connectors.gateway.agui.projection import AguiProjection, error_frame
from connectors.gateway.auth import Principal
from connectors.gateway.core import Core, NewRun, RunView
from connectors.gateway.core.core import MESSAGE_MODES
from connectors.gateway.lg.requests import body_of, caller_of, core_of
from connectors.gateway.lg.shapes import find_agent
from connectors.gateway.problems import Problem
from connectors.gateway.sse import EventStream
from schemas import GraphCommand, GraphRequest, StoredMessage, ThreadHead

router = APIRouter(include_in_schema=False)


@router.post("/agui")
@router.post("/agui/{agent_id}")
async def run(request: Request) -> Any:
    """Runs an agent on the user's new messages, or on the answers to its interrupts, and streams what happens."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    thread_id, run_id = body.get("threadId"), body.get("runId")
    if not isinstance(thread_id, str) or not isinstance(run_id, str) or not run_id:
        raise Problem(422, "invalid", "threadId and runId are needed.")
    agent_id = await _agent_id(core, caller, request.path_params.get("agent_id") or "default")
    if await core.threads.find(caller, thread_id) is None:
        await core.threads.create(caller, thread_id=thread_id, if_exists="do_nothing")
    head, messages = await core.threads.read(caller, thread_id, window=core.options.state_messages)
    since, pending = head.next_event - 1, head.pending
    if answers := _list(body, "resume"):
        view = await _resume(core, caller, thread_id, head, answers)
    else:
        view, since = await _start(core, caller, thread_id, head, messages, agent_id, body)
    listed = {m.get("id") for m in _list(body, "messages")}
    projection = AguiProjection(thread_id, run_id, view.run_id, pending=pending, history=messages, listed=listed)
    return EventStream(
        projection.frames(core.stream(caller, thread_id).items(since)),
        on_error=error_frame,
        slow_seconds=core.options.slow_seconds,
        on_end=core.count_stream(caller),
    )


async def _agent_id(core: Core, caller: Principal, given: str) -> str:
    """An agent's id, or that of a hosted graph's assistant."""
    if assistant := await core.assistant(caller, given):
        return assistant.assistant_id
    return find_agent(await core.tenant(caller), given).agent_id


async def _start(
    core: Core,
    caller: Principal,
    thread_id: str,
    head: ThreadHead,
    messages: list[StoredMessage],
    agent_id: str,
    body: Mapping[str, Any],
) -> tuple[RunView, int]:
    """The client sends its whole history each time: what counts are messages of the user that the thread does not have."""
    key = f"agui {body['runId']}"
    known = {s.message.message_id for s in messages}
    fresh = [m for m in _list(body, "messages") if m.get("role") == "user" and m.get("id") not in known]
    if not fresh:
        raise Problem(422, "nothing_said", "There is no message of the user that this thread does not have.")
    text = "\n\n".join(filter(None, (_text(m.get("content")) for m in fresh)))
    if not text:
        raise Problem(422, "nothing_said", "The message is empty.")
    message_id = fresh[-1].get("id")
    new = NewRun(
        text,
        agent_id=agent_id,
        message_id=message_id if isinstance(message_id, str) else None,
        idempotency_key=key,
    )
    return await core.runs.start(caller, thread_id, new, head=head)


async def _resume(
    core: Core, caller: Principal, thread_id: str, head: ThreadHead, answers: list[dict[str, Any]]
) -> RunView:
    if head.run and head.run.graph and head.run.paused:
        return await _answer_graph(core, caller, thread_id, head.run.graph, head, answers)
    waiting = {p.call.call_id for p in core.runs.open_approvals(head)}
    if head.run is None or not waiting or any(a.get("interruptId") not in waiting for a in answers):
        raise Problem(409, "no_such_interrupt", "The interrupt that this answers is not open any more.")
    decisions = {str(a["interruptId"]): _decision(a) for a in answers}
    view = await core.runs.get(caller, thread_id, head.run.run_id)
    await core.runs.decide_all(caller, thread_id, decisions)
    return view


async def _answer_graph(
    core: Core, caller: Principal, thread_id: str, asked: GraphRequest, head: ThreadHead, answers: list[dict[str, Any]]
) -> RunView:
    """Answers by interrupt; one that was cancelled is answered with null. What was asked for at first stays."""
    assert head.run, "it waits"
    resume = {a.get("interruptId"): a.get("payload") for a in answers}
    if not set(resume) <= {waiting.id for waiting in head.run.interrupts}:
        raise Problem(409, "no_such_interrupt", "The interrupt that this answers is not open any more.")
    command = GraphCommand(resumes=True, resume=resume)
    request = asked.model_copy(
        update={"input": None, "command": command, "checkpoint_id": None, "modes": MESSAGE_MODES}
    )
    return await core.runs.go_on(caller, thread_id, head, request)


def _decision(given: Mapping[str, Any]) -> dict[str, Any]:
    if given.get("status") == "cancelled":
        return {"decision": "reject"}
    payload = given.get("payload")
    if not isinstance(payload, Mapping) or payload.get("decision") not in ("approve", "edit", "reject", "respond"):
        words = 'The payload of an answer is an object such as {"decision": "approve"}; see responseSchema.'
        raise Problem(422, "decisions_do_not_fit", words)
    return {name: payload[name] for name in ("decision", "arguments", "message") if payload.get(name) is not None}


def _list(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = body.get(name) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise Problem(422, "invalid", f"{name} must be a list of objects.")
    return found


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        return "\n".join(str(part) for part in parts)
    return ""
