"""A thread from its events: what the journal would hold, for a store that was restored from a backup.

The events of `chat.responses` and the offsets of the inputs are committed in one transaction, so the events tell the state that
belongs to the offsets, and neither a model nor a tool is asked again. Pure code.

Of hosted graphs the events tell runs, messages and pauses. The state itself (`StateRow`) is in no event and stays as the backup
has it: a graph goes on from there. Of a copy they tell that it was made, not what it had from its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas import (
    TERMINAL_TYPES,
    ActiveRun,
    ApprovalRequested,
    ApprovalResolved,
    Input,
    Message,
    MessageAdded,
    MessagesRemoved,
    PendingCall,
    RunFailed,
    RunPaused,
    RunQueued,
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
    derived_id,
    forked,
)
from threads.answers import turn_of
from threads.calls import find_pending
from threads.ended import ended_run, last_run
from threads.transitions import title_of


class Gap(Exception):
    """Events are missing between what the store has and what the topic has."""


@dataclass
class Replayed:
    """The thread after some events. `head` is None before the first."""

    head: ThreadHead | None
    queueable: Mapping[str, Input] = field(default_factory=dict)
    """Messages by their runs: an event names a waiting run, and does not repeat its text."""
    messages: list[StoredMessage] = field(default_factory=list)
    events: list[StoredEvent] = field(default_factory=list)
    runs: list[StoredRun] = field(default_factory=list)
    remove_from: int | None = None
    erased: bool = False

    def apply(self, events: Iterable[ThreadEvent]) -> None:
        """Takes events in their order; those that the store has are passed over. Raises `Gap`."""
        for event in events:
            expected = self.head.next_event if self.head else 1
            if event.seq < expected:
                continue
            if event.seq > expected:
                raise Gap(f"event {event.seq} where {expected} was to come")
            if self.head is None:
                self.head = ThreadHead(user_id=event.user_id, created_at=event.at, updated_at=event.at)
            self._change(next_event=event.seq + 1, updated_at=event.at, unpublished=())
            self.events.append(StoredEvent(seq=event.seq, type=event.TYPE, body=event.to_bytes().decode()))
            self._apply(event)

    def _apply(self, event: ThreadEvent) -> None:
        if isinstance(event, RunStarted):
            self._start(event)
        elif isinstance(event, RunQueued):
            if event.run_id in self.queueable:
                self._change(queued=(*self._head.queued, self.queueable[event.run_id]))
        elif isinstance(event, MessageAdded):
            self._message(event.message)
        elif isinstance(event, MessagesRemoved):
            self._remove(event)
        elif isinstance(event, RunPaused) and self._head.run:
            self._pause(event, self._head.run)
        elif isinstance(event, ApprovalRequested):
            self._pending(event.call_id, state="approval")
        elif isinstance(event, ApprovalResolved):
            if self._head.status == "approval" and event.decision not in ("abandoned", "cancelled"):
                self._change_run(resumed_at=event.at)
        elif isinstance(event, ToolRequested):
            self._request(event)
        elif isinstance(event, ToolFinished):
            self._finish(event)
        elif isinstance(event, StateUpdated):
            self._change_run(interrupts=())  # LangGraph asks again from the new state
        elif isinstance(event, ThreadChanged):
            self._thread_changed(event)
        elif event.TYPE in TERMINAL_TYPES:
            self._end(event)

    @property
    def _head(self) -> ThreadHead:
        assert self.head, "an event was applied"
        return self.head

    def _change(self, **fields: Any) -> None:
        self.head = self._head.model_copy(update=fields)

    def _change_run(self, **fields: Any) -> None:
        if self._head.run:
            self._change(run=self._head.run.model_copy(update=fields))

    def _start(self, event: RunStarted) -> None:
        input_ = self.queueable.get(event.run_id) or Input(
            input_id=event.input_id,
            run_id=event.run_id,
            user_id=event.user_id,
            agent_id=event.agent_id,
            at=event.at,
            metadata=event.metadata,
            time_zone=event.time_zone,
        )
        run = input_.begun(event.at, first_message=self._head.next_message, first_event=event.seq)
        waiting = tuple(q for q in self._head.queued if q.run_id != event.run_id)
        agent_id, graph = self._head.agent_id or run.agent_id, run.graph.graph if run.graph else self._head.graph
        self._change(run=run, pending=(), queued=waiting, agent_id=agent_id, graph=graph)

    def _pause(self, event: RunPaused, run: ActiveRun) -> None:
        spent = run.spent_seconds + max(0.0, (event.at - run.resumed_at).total_seconds())
        if event.reason == "interrupt":
            if run.paused:  # it had gone on meanwhile, and no event tells since when
                spent = run.spent_seconds
            self._change_run(paused=True, interrupts=event.interrupts)
            self._change(pending=())
        self._change_run(spent_seconds=spent, resumed_at=event.at)

    def _message(self, message: Message) -> None:
        seq = self._head.next_message
        self.messages.append(StoredMessage(seq=seq, message=message))
        self._change(next_message=seq + 1)
        if message.role == "user" and not self._head.title:
            self._change(title=title_of(message.text))
        run = self._head.run
        if message.role == "assistant" and run:
            # Turns without a message are in no event; the number in the message's id counts them.
            turns = max(run.turns + 1, turn_of(message.message_id, run.run_id))
            self._change_run(turns=turns, usage=run.usage.plus(message.usage or TokenUsage()))
            if not run.graph:
                self._change(pending=tuple(PendingCall(call=call, state="running") for call in message.tool_calls))

    def _remove(self, event: MessagesRemoved) -> None:
        run = self._head.run
        if event.kept:
            before, following = self._head.forks, self._head.next_message
            self._change(forks=forked(before, following, event.after or 0))
            self._change_run(forks_before=before)
            return
        if run and run.forks_before is not None:
            self._change(forks=run.forks_before)
        # A run's messages are the newest, and a rollback removes all of them.
        start = run.first_message if run else self._head.next_message - len(event.message_ids)
        self.messages = [m for m in self.messages if m.seq < start]
        self.remove_from = start if self.remove_from is None else min(self.remove_from, start)

    def _request(self, event: ToolRequested) -> None:
        pending = find_pending(self._head, event.call_id)
        if pending:
            edited = pending.state == "approval" and event.arguments != pending.call.arguments
            call = pending.call.model_copy(update={"arguments": event.arguments})
            self._pending(event.call_id, state="running", call=call, edited=edited)

    def _finish(self, event: ToolFinished) -> None:
        self._message(
            Message(
                message_id=derived_id("msg", event.call_id),
                role="tool",
                text=event.content,
                run_id=event.run_id,
                at=event.at,
                call_id=event.call_id,
                tool_name=event.name,
                failed=event.status != "ok",
            )
        )
        self._pending(event.call_id, state="done")

    def _pending(self, call_id: str, **fields: Any) -> None:
        self._change(
            pending=tuple(p.model_copy(update=fields) if p.call.call_id == call_id else p for p in self._head.pending)
        )

    def _thread_changed(self, event: ThreadChanged) -> None:
        self._change(title=event.title, metadata=event.metadata, ttl=event.ttl)
        if event.action == "delete":
            self._change(deleted=True, last=None)
            self.messages, self.runs, self.remove_from, self.erased = [], [], 1, True
            self.events = self.events[-1:]

    def _end(self, event: ThreadEvent) -> None:
        self.runs.append(ended_run(self._head, event))
        if self._head.run and self._head.run.run_id == event.run_id:
            self._change(run=None, pending=(), last=last_run(event))
        else:
            self._change(queued=tuple(q for q in self._head.queued if q.run_id != event.run_id))
            if isinstance(event, RunFailed) and not (self._head.run or self._head.queued or self._head.deleted):
                self._change(last=last_run(event))  # it failed before it began
