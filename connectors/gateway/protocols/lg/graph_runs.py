"""Runs of hosted graphs: started or resumed as a body asks, and streamed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocols.lg import shapes
from connectors.gateway.protocols.lg.graph_projection import INTERRUPT
from connectors.gateway.protocols.lg.requests import AT_ONCE, RunRequest
from core import NewRun, RunView
from core.answering import addressed
from core.graph_assistants import Assistant
from core.principal import Principal
from core.refusals import Conflict, Invalid
from schemas import GraphRequest, ThreadHead
from threads.open_questions import Questions

_INTERRUPT_ID = re.compile(r"^[0-9a-f]{32}$")


async def start_graph(
    core: GatewayCore, caller: Principal, thread_id: str, wanted: RunRequest, assistant: Assistant
) -> tuple[RunView, int, Questions, bool]:
    """The run, the number of the thread's last event before it, the questions that it begins with, and whether it is one that was
    paused and goes on.

    Raises `Refused` 409 for an answer to nothing.
    """
    request = wanted.for_graph(assistant).model_copy(update={"permissions": tuple(sorted(caller.scopes))})
    head = await core.threads.get(caller, thread_id)
    waits = head.run is not None and head.run.paused
    resumes = request.command is not None and request.command.resumes
    if wanted.delay and (resumes or (_goes_on(request) and not request.checkpoint_id)):
        raise Invalid("not_supported", AT_ONCE)
    if resumes and not request.checkpoint_id:
        _answers(head, request.command.resume if request.command else None)
    if waits and not request.checkpoint_id and (resumes or _goes_on(request)):
        return await core.answering.resume(caller, thread_id, head, request), head.next_event - 1, Questions(head), True
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
    return view, since, Questions(head), False


def _goes_on(request: GraphRequest) -> bool:
    return request.input is None and request.command is None


def _answers(head: ThreadHead, resume: object) -> None:
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
        words = f"{len(open_ones)} interrupts are open; name the ones that this answers: an object from ids to answers."
        raise Invalid("several_interrupts", words, interrupts=open_ones)


async def graph_outcome(core: GatewayCore, caller: Principal, view: RunView, graph: str, head: ThreadHead) -> Any:
    """What waiting for the run gives: the newest values, what it asks, or how it failed."""
    if view.status == "failed":
        return {"__error__": shapes.failure(view)}
    values = await core.graphs.values(caller, view.thread_id, graph)
    if view.status != "paused":
        return values
    return {**(values if isinstance(values, dict) else {}), INTERRUPT: shapes.interrupts(view.thread_id, head)}
