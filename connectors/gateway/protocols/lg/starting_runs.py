"""Starting runs, and resuming those that wait: of agents, and of hosted graphs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.gateway.client_messages import said
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocols.lg import shapes
from connectors.gateway.protocols.lg.message_shapes import listed_in
from connectors.gateway.protocols.lg.requests import NOT_DELAYED, RunRequest, thread_fields, usual_ttl
from connectors.gateway.protocols.lg.resume_values import decisions_of
from core import NewRun, RunView
from core.answering import addressed
from core.costs import runs_ahead
from core.graph_assistants import Assistant
from core.permissions import Operation, require, require_request
from core.principal import Principal
from core.refusals import Conflict, Invalid, Missing, Refused
from core.thread_branches import Branches, waits_for_an_answer
from schemas import GraphRequest, StoredMessage, ThreadHead

_INTERRUPT_ID = re.compile(r"^[0-9a-f]{32}$")


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was started or resumed, and the thread as it was before."""

    view: RunView
    since: int
    """The number of the thread's last event before the run."""
    head: ThreadHead
    messages: Sequence[StoredMessage] = ()
    """What an agent's run begins with; the state of a graph is in its checkpoints."""
    resumed: bool = False
    """Whether the run was paused before."""
    graph: str | None = None
    """The hosted graph that runs."""


async def start(core: GatewayCore, caller: Principal, thread_id: str, wanted: RunRequest) -> Started:
    """Starts the run that a body asks for, or answers the interrupt that its thread waits with."""
    agent, request = await core.agents.find(caller, wanted.assistant), None
    if isinstance(agent, Assistant):
        request = wanted.for_graph(caller, agent).model_copy(update={"permissions": tuple(sorted(caller.scopes))})
        require_request(caller, request)
    elif wanted.command.get("resume") is not None and wanted.given is None:
        require(caller, Operation.ANSWER)
    if wanted.cancel_when_left:
        require(caller, Operation.CHANGE_THREAD)
    async with runs_ahead():
        if wanted.create_thread:
            named = {"graph_id": agent.graph_id} if isinstance(agent, Assistant) else {}
            made = thread_fields({**wanted.metadata, **named})
            await core.threads.ensure(caller, thread_id, **made, ttl=usual_ttl(core))
        if request is not None and isinstance(agent, Assistant):
            return await _start_graph(core, caller, thread_id, wanted, agent, request)
        return await _start_agent(core, caller, thread_id, wanted, agent.agent_id)


async def _start_agent(
    core: GatewayCore, caller: Principal, thread_id: str, wanted: RunRequest, agent_id: str
) -> Started:
    """Starts a run where the thread stands, or at a checkpoint: what came after that leaves the conversation."""
    wanted.for_agent()
    listed = listed_in(wanted.given) if wanted.given is not None else []
    checkpoint, resume = wanted.checkpoint_id, wanted.command.get("resume")
    needed = "values" in wanted.modes or checkpoint or not listed or any(message.message_id for message in listed)
    branches = await core.threads.branches(caller, thread_id, window=core.options.state_messages if needed else 0)
    head, newest = branches.head, branches.head.newest_message
    at = newest if checkpoint is None else _checkpoint(branches, thread_id, checkpoint)
    if resume is not None and wanted.given is None:
        if wanted.delay:
            raise Invalid("not_supported", NOT_DELAYED)
        if at != newest:
            raise Conflict("no_such_interrupt", "Nothing waits for an answer at this checkpoint.")
        decisions = decisions_of(thread_id, head, resume)
        view = await core.answering.decide_all(caller, thread_id, head, decisions)
        return Started(view, head.next_event - 1, head, branches.conversation, resumed=True)
    messages = branches.up_to(at)
    if wanted.given is None:
        _check_that_something_is_left(branches, messages, at_checkpoint=checkpoint is not None)
    await wanted.refuse_if_busy(core, caller, thread_id)
    text, message_id, after = "", None, at
    if wanted.given is not None:
        spoken = said(listed, messages, head.pending)
        text, message_id = spoken.text, spoken.message_id
        after = spoken.after if spoken.after is not None else at
    goes_back = wanted.given is None or after != newest
    new = NewRun(
        text,
        agent_id=agent_id,
        multitask_strategy=wanted.strategy,
        delay=wanted.delay,
        metadata=wanted.metadata,
        message_id=message_id,
        details={"kwargs": wanted.kwargs},
        time_zone=wanted.time_zone,
        after=after if goes_back else None,
    )
    view, since = await core.runs.start(caller, thread_id, new, head=head)
    return Started(view, since, head, branches.up_to(after))


def _checkpoint(branches: Branches, thread_id: str, checkpoint: str) -> int:
    """The number of a checkpoint's newest message. Raises `Refused`."""
    try:
        seq = shapes.checkpoint_seq(thread_id, checkpoint)
    except Refused:
        seq = -1
    if not branches.has(seq):
        detail = f"The thread has no checkpoint {str(checkpoint)[:128]!r} to resume from."
        raise Missing("checkpoint_not_found", detail)
    return seq


def _check_that_something_is_left(branches: Branches, messages: list[StoredMessage], *, at_checkpoint: bool) -> None:
    """Raises `Refused` where a run without an input has nothing to do."""
    if branches.head.run and not at_checkpoint:
        detail = "A run needs an input with a message, or a command with resume; the thread is not idle."
        raise Invalid("nothing_said", detail)
    if not waits_for_an_answer([stored.message for stored in messages]):
        detail = (
            "A run needs an input with a message: nothing is left to answer here. For another answer, name the checkpoint "
            "that the answer came after."
        )
        raise Invalid("nothing_said", detail)


async def _start_graph(
    core: GatewayCore,
    caller: Principal,
    thread_id: str,
    wanted: RunRequest,
    assistant: Assistant,
    request: GraphRequest,
) -> Started:
    """Starts a run of a hosted graph, or resumes the one that is paused. Raises `Refused` 409 for an answer to nothing."""
    head = await core.threads.get(caller, thread_id)
    waits = head.run is not None and head.run.paused
    resumes = request.command is not None and request.command.resumes
    if wanted.delay and (resumes or (_continues(request) and not request.checkpoint_id)):
        raise Invalid("not_supported", NOT_DELAYED)
    if resumes and not request.checkpoint_id:
        _check_answer(head, request.command.resume if request.command else None)
    if waits and not request.checkpoint_id and (resumes or _continues(request)):
        view = await core.answering.resume(caller, thread_id, head, request)
        return Started(view, head.next_event - 1, head, resumed=True, graph=assistant.graph_id)
    await wanted.refuse_if_busy(core, caller, thread_id)
    if resumes and not request.checkpoint_id:
        request = addressed(head, request)
    new = NewRun(
        agent_id=assistant.assistant_id,
        multitask_strategy=wanted.strategy,
        delay=wanted.delay,
        metadata=wanted.metadata,
        details={"kwargs": wanted.kwargs},
        graph=request,
    )
    view, since = await core.runs.start(caller, thread_id, new, head=head)
    return Started(view, since, head, graph=assistant.graph_id)


def _continues(request: GraphRequest) -> bool:
    return request.input is None and request.command is None


def _check_answer(head: ThreadHead, resume: object) -> None:
    """Raises `Refused` where nothing waits for this answer, or where it does not say which question it answers."""
    stands = head.run is not None and head.run.paused
    open_ones = [asked.id for asked in head.interrupts]
    if not stands and not open_ones:
        raise Conflict("no_such_interrupt", "Nothing waits for an answer in this thread.")
    if isinstance(resume, Mapping) and resume and set(resume) <= set(open_ones):
        return
    if isinstance(resume, Mapping) and resume and all(_INTERRUPT_ID.match(str(name)) for name in resume):
        raise Conflict("no_such_interrupt", "The interrupt that this answers is not open any more.")
    if len(open_ones) > 1:
        detail = (
            f"{len(open_ones)} interrupts are open; name the ones that this answers: an object from ids to answers."
        )
        raise Invalid("several_interrupts", detail, interrupts=open_ones)
