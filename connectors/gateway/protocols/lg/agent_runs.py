"""Runs of agents: a message, an answer to what waits, or another answer to what was said before."""

from __future__ import annotations

from connectors.gateway.client_messages import said
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocols.lg import shapes
from connectors.gateway.protocols.lg.message_shapes import listed_in
from connectors.gateway.protocols.lg.requests import AT_ONCE, RunRequest
from connectors.gateway.protocols.lg.resume_values import decisions_of
from core import NewRun, RunView
from core.principal import Principal
from core.refusals import Conflict, Invalid, Missing, Refused
from core.thread_branches import Branches, waits_for_an_answer
from schemas import StoredMessage
from threads.open_questions import Questions

Started = tuple[RunView, int, list[StoredMessage], Questions, bool]
"""The run, the number of the thread's last event before it, the messages and the questions that it begins with, and whether it is
one that was paused and goes on."""


async def start_agent(
    core: GatewayCore, caller: Principal, thread_id: str, wanted: RunRequest, agent_id: str
) -> Started:
    """Starts a run where the thread stands, or at a checkpoint: what came after that leaves the conversation."""
    wanted.for_agent()
    told = listed_in(wanted.given) if wanted.given is not None else []
    checkpoint, resume = wanted.checkpoint_id, wanted.command.get("resume")
    needed = "values" in wanted.modes or checkpoint or not told or any(message.message_id for message in told)
    branches = await core.threads.branches(caller, thread_id, window=core.options.state_messages if needed else 0)
    head, newest = branches.head, branches.head.newest_message
    at = newest if checkpoint is None else _checkpoint(branches, thread_id, checkpoint)
    if resume is not None and wanted.given is None:
        if wanted.delay:
            raise Invalid("not_supported", AT_ONCE)
        if at != newest:
            raise Conflict("no_such_interrupt", "Nothing waits for an answer at this checkpoint.")
        return await _resume(core, caller, thread_id, resume, branches)
    messages = branches.up_to(at)
    if wanted.given is None:
        _check_that_something_is_left(branches, messages, at_checkpoint=checkpoint is not None)
    await wanted.refuse_if_busy(core, caller, thread_id)
    text, message_id, after = "", None, at
    if wanted.given is not None:
        spoken = said(told, messages, head.pending)
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
    return view, since, branches.up_to(after), Questions(head), False


async def _resume(core: GatewayCore, caller: Principal, thread_id: str, resume: object, branches: Branches) -> Started:
    head = branches.head
    decisions = decisions_of(thread_id, head, resume)
    view = await core.answering.decide_all(caller, thread_id, head, decisions)
    return view, head.next_event - 1, branches.conversation, Questions(head), True


def _checkpoint(branches: Branches, thread_id: str, checkpoint: str) -> int:
    """The number of a checkpoint's newest message. Raises `Refused`."""
    try:
        seq = shapes.checkpoint_seq(thread_id, checkpoint)
    except Refused:
        seq = -1
    if not branches.has(seq):
        words = f"The thread has no checkpoint {str(checkpoint)[:128]!r} to resume from."
        raise Missing("checkpoint_not_found", words)
    return seq


def _check_that_something_is_left(branches: Branches, messages: list[StoredMessage], *, at_checkpoint: bool) -> None:
    """Raises `Refused` where a run without an input has nothing to do."""
    if branches.head.run and not at_checkpoint:
        words = "A run needs an input with a message, or a command with resume; the thread is not idle."
        raise Invalid("nothing_said", words)
    if not waits_for_an_answer([stored.message for stored in messages]):
        words = (
            "A run needs an input with a message: nothing is left to answer here. For another answer, name the checkpoint "
            "that the answer came after."
        )
        raise Invalid("nothing_said", words)
