"""What an event makes of a thread's head: the one place where a head changes.

Live turns, replay and recovery all come through here, so a thread's events tell its head, but for what a store counts: rows of a
graph's state, and inputs whose outputs may be unpublished.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from schemas import (
    TERMINAL_TYPES,
    ActiveRun,
    AnswerDiscarded,
    ApprovalRequested,
    ApprovalResolved,
    Input,
    InputRefused,
    Message,
    MessageAdded,
    MessagesRemoved,
    PendingCall,
    RunFailed,
    RunPaused,
    RunQueued,
    RunResumed,
    RunStarted,
    StateUpdated,
    ThreadChanged,
    ThreadEvent,
    ThreadHead,
    TokenUsage,
    ToolFinished,
    ToolRequested,
    forked,
)
from threads.ended import last_run

Event = TypeVar("Event", bound=ThreadEvent)


def evolve(head: ThreadHead | None, event: ThreadEvent) -> ThreadHead:
    """The head after an event. `head` is None before a thread's first."""
    if head is None:
        head = ThreadHead(user_id=event.user_id, created_at=event.at, updated_at=event.at)
    head = _with(head, next_event=event.seq + 1, updated_at=event.at)
    if message := event.adds:
        head = _message(head, message)
    if event.TYPE in TERMINAL_TYPES:
        return _end(head, event)
    change = _CHANGES.get(type(event))
    return change(head, event) if change else head


def title_of(text: str) -> str:
    """The title that a thread gets of its first message."""
    return " ".join(text.split())[:80]


def turn_of(message_id: str, run_id: str) -> int:
    """The turn that a message of the run was written in; 0 where its id does not contain it."""
    number = message_id.removeprefix(f"{run_id}.")
    return int(number) if number != message_id and number.isdecimal() and len(number) < 10 else 0


def _with(head: ThreadHead, **fields: Any) -> ThreadHead:
    return head.model_copy(update=fields)


def _with_run(head: ThreadHead, **fields: Any) -> ThreadHead:
    return _with(head, run=head.run.model_copy(update=fields)) if head.run else head


def _message(head: ThreadHead, message: Message) -> ThreadHead:
    title = head.title or (title_of(message.text) if message.role == "user" else "")
    return _with(head, next_message=head.next_message + 1, title=title)


def _queued(head: ThreadHead, event: RunQueued) -> ThreadHead:
    if event.input is None:
        return head  # of an older version, and nobody knows what waits
    title = head.title or title_of(event.input.text)
    return _with(head, queued=(*head.queued, event.input), title=title)


def _started(head: ThreadHead, event: RunStarted) -> ThreadHead:
    known = event.input or Input(
        input_id=event.input_id,
        run_id=event.run_id,
        user_id=event.user_id,
        agent_id=event.agent_id,
        at=event.at,
        metadata=event.metadata,
        time_zone=event.time_zone,
    )
    begun = known.started().model_copy(update={"metadata": event.metadata})
    run = ActiveRun.of(begun, event.at, first_message=head.next_message, first_event=event.seq)
    if run.graph:
        head = _with(head, graph=run.graph_name, configured=run.graph.configuration())
    return _with(
        head,
        run=run,
        pending=(),
        asks=(),
        queued=tuple(waiting for waiting in head.queued if waiting.input_id != event.input_id),
        title=head.title or title_of(known.text),
        agent_id=head.agent_id or run.agent_id,
    )


def _added(head: ThreadHead, event: MessageAdded) -> ThreadHead:
    run, message = head.run, event.message
    if message.role != "assistant" or run is None:
        return head
    head = _counted(head, run, message.usage, event.estimated_tokens)
    # Older versions sent no event for turns without a message; the number in the message's id counts them.
    turns = max(run.turns + 1, turn_of(message.message_id, run.run_id))
    head = _with_run(head, turns=turns, spoilt=event.spoilt)
    if run.kind == "graph":
        return head
    return _with(head, pending=tuple(PendingCall(call=call, state="running") for call in message.tool_calls))


def _discarded(head: ThreadHead, event: AnswerDiscarded) -> ThreadHead:
    run = head.run
    if run is None:
        return head
    head = _counted(head, run, event.usage, event.estimated_tokens)
    return _with_run(head, turns=run.turns + 1, spoilt=run.spoilt + 1)


def _counted(head: ThreadHead, run: ActiveRun, usage: TokenUsage | None, estimated: int) -> ThreadHead:
    total = run.usage.plus(usage or TokenUsage())
    return _with_run(head, usage=total, estimated_tokens=run.estimated_tokens + estimated)


def _removed(head: ThreadHead, event: MessagesRemoved) -> ThreadHead:
    if event.kept:
        before = head.forks
        head = _with_run(head, forks_before=before)
        return _with(head, forks=forked(before, head.next_message, event.after or 0))
    undone = head.run.forks_before if head.run else None
    return head if undone is None else _with(head, forks=undone)


def _paused(head: ThreadHead, event: RunPaused) -> ThreadHead:
    run = head.run
    if run is None:
        return head
    # Where an older version resumed a graph's run, no event says since when.
    worked = 0.0 if run.paused else max(0.0, (event.at - run.resumed_at).total_seconds())
    head = _with_run(head, spent_seconds=run.spent_seconds + worked, resumed_at=event.at)
    if event.reason == "approval":
        return head
    before = event.state_before if event.state_before is not None else run.state_before
    return _with(_with_run(head, paused=True, interrupts=event.interrupts, state_before=before), pending=())


def _resumed(head: ThreadHead, event: RunResumed) -> ThreadHead:
    head = _with_run(head, graph=event.graph, paused=False, interrupts=(), resumed_at=event.at)
    return _with(head, configured=event.graph.configuration())


def _asked(head: ThreadHead, event: ApprovalRequested) -> ThreadHead:
    return _with_call(head, event.call_id, lambda pending: {"state": "approval"})


def _resolved(head: ThreadHead, event: ApprovalResolved) -> ThreadHead:
    if head.status == "approval" and event.decision not in ("abandoned", "cancelled"):
        return _with_run(head, resumed_at=event.at)
    return head


def _requested(head: ThreadHead, event: ToolRequested) -> ThreadHead:
    def running(pending: PendingCall) -> Mapping[str, Any]:
        edited = pending.state == "approval" and event.arguments != pending.call.arguments
        call = pending.call.model_copy(update={"arguments": event.arguments})
        return {"state": "running", "call": call, "edited": edited}

    return _with_call(head, event.call_id, running)


def _finished(head: ThreadHead, event: ToolFinished) -> ThreadHead:
    return _with_call(head, event.call_id, lambda pending: {"state": "done"})


def _with_call(head: ThreadHead, call_id: str, fields: Callable[[PendingCall], Mapping[str, Any]]) -> ThreadHead:
    return _with(
        head,
        pending=tuple(
            one.model_copy(update=fields(one)) if one.call.call_id == call_id else one for one in head.pending
        ),
    )


def _refused(head: ThreadHead, event: InputRefused) -> ThreadHead:
    return _with(head, deleted=True) if event.no_thread else head


def _state_updated(head: ThreadHead, event: StateUpdated) -> ThreadHead:
    if event.graph:
        head = _with(head, graph=event.graph, agent_id=head.agent_id or event.agent_id)
    if head.run:
        return _with_run(head, interrupts=event.interrupts)
    return _with(head, asks=event.interrupts) if head.asks else head


def _changed(head: ThreadHead, event: ThreadChanged) -> ThreadHead:
    head = _with(head, title=event.title, metadata=event.metadata, ttl=event.ttl)
    if event.action == "delete":
        return _with(head, deleted=True, last=None, asks=(), configured=None)
    if event.action == "copy":
        return _with(head, agent_id=event.agent_id, graph=event.graph, next_message=event.next_message)
    return head


def _end(head: ThreadHead, event: ThreadEvent) -> ThreadHead:
    asks = event.asks if isinstance(event, RunFailed) else ()
    if head.run and head.run.run_id == event.run_id:
        return _with(head, run=None, pending=(), last=last_run(event), asks=asks)
    head = _with(head, queued=tuple(waiting for waiting in head.queued if waiting.run_id != event.run_id))
    if isinstance(event, RunFailed) and not (head.run or head.queued or head.deleted):
        return _with(head, last=last_run(event))  # it failed before it began
    return head


_CHANGES: Mapping[type[ThreadEvent], Callable[[ThreadHead, Any], ThreadHead]] = {
    RunQueued: _queued,
    RunStarted: _started,
    MessageAdded: _added,
    AnswerDiscarded: _discarded,
    MessagesRemoved: _removed,
    RunPaused: _paused,
    RunResumed: _resumed,
    ApprovalRequested: _asked,
    ApprovalResolved: _resolved,
    ToolRequested: _requested,
    ToolFinished: _finished,
    InputRefused: _refused,
    StateUpdated: _state_updated,
    ThreadChanged: _changed,
}
