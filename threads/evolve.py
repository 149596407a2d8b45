"""What an event makes of a thread: of its head (`evolve`), and of what the journal keeps beside it (`ThreadLog`).

Live turns, replay and recovery all come through here, so that a thread's events determine its head, but for what a store counts:
rows of a graph's state, and inputs whose outputs may be unpublished.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas import (
    TERMINAL_TYPES,
    ActiveRun,
    AnswerDiscarded,
    ApprovalRequested,
    ApprovalResolved,
    FinishedRun,
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
    StoredEvent,
    StoredMessage,
    StoredRun,
    ThreadChanged,
    ThreadEvent,
    ThreadHead,
    TokenUsage,
    ToolFinished,
    ToolRequested,
    forked,
)


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
        return head  # of an older version, which did not record the input
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
    return _with_call(head, event.call_id, lambda pending: {"state": "approval", "concerns": event.concerns})


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
        return _with(head, run=None, pending=(), last=_last_run(event), asks=asks)
    head = _with(head, queued=tuple(waiting for waiting in head.queued if waiting.run_id != event.run_id))
    if isinstance(event, RunFailed) and not (head.run or head.queued or head.deleted):
        return _with(head, last=_last_run(event))  # it failed before it began
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


def _last_run(end: ThreadEvent) -> FinishedRun:
    """What a thread's head keeps of the run that this event ends."""
    why = {name: getattr(end, name) for name in ("code", "message", "error")} if isinstance(end, RunFailed) else {}
    outcome: Any = _outcome(end)
    return FinishedRun(run_id=end.run_id, outcome=outcome, **why)


def _outcome(end: ThreadEvent) -> str:
    """Terminal types end with their outcome."""
    return end.TYPE.rpartition(".")[2]


def _ended_run(head: ThreadHead, end: ThreadEvent) -> StoredRun:
    """The run that this event ends, for the journal: the active one of `head`, a queued one, or one that was rejected."""
    run, queued = head.run, next((q for q in head.queued if q.run_id == end.run_id), None)
    known: dict[str, Any] = {
        "input_id": end.run_id,
        "accepted_at": end.at,
        "first_event": end.seq,
        "usage": TokenUsage(),
    }
    of = run if run and run.run_id == end.run_id else queued
    if of:
        known |= {name: getattr(of, name) for name in ("input_id", "agent_id", "metadata", "kind")}
        known |= {"graph": of.graph_name, "accepted_at": of.at}
    if run and of is run:
        known |= {"usage": run.counted, "accepted_at": run.started_at, "first_event": run.first_event or end.seq}
    return StoredRun(
        run_id=end.run_id,
        outcome=_outcome(end),
        code=getattr(end, "code", "") or getattr(end, "reason", ""),
        message=getattr(end, "message", "") or getattr(end, "notice", "") or "",
        error=getattr(end, "error", ""),
        ended_at=end.at,
        last_event=end.seq,
        **known,
    )


@dataclass(kw_only=True)
class ThreadLog:
    """Gathers what is new. `append` takes an event and gives the head after it."""

    messages: list[StoredMessage] = field(default_factory=list)
    events: list[StoredEvent] = field(default_factory=list)
    runs: list[StoredRun] = field(default_factory=list)
    remove_from: int | None = None
    """Messages with this number and above go, those that were there before the log began."""
    erased: bool = False
    """Everything goes that was there before the log began."""

    def append(self, head: ThreadHead | None, event: ThreadEvent) -> ThreadHead:
        """Takes the event that comes next in the thread; the head after it."""
        after = evolve(head, event)
        before = head or after
        self.events.append(StoredEvent(seq=event.seq, type=event.TYPE, body=event.to_bytes().decode()))
        if message := event.adds:
            self.messages.append(StoredMessage(seq=before.next_message, message=message))
        if event.TYPE in TERMINAL_TYPES:
            self.runs.append(_ended_run(before, event))
        if isinstance(event, MessagesRemoved) and not event.kept and (event.message_ids or event.after is None):
            # A run's messages are the newest, and a rollback removes all of them.
            self._remove(before.run.first_message if before.run else before.next_message - len(event.message_ids))
        if isinstance(event, ThreadChanged) and event.action == "delete":
            self._remove(1)
            self.erased, self.runs, self.events = True, [], self.events[-1:]
        return after

    def _remove(self, start: int) -> None:
        self.messages = [stored for stored in self.messages if stored.seq < start]
        self.remove_from = start if self.remove_from is None else min(self.remove_from, start)
