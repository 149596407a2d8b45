"""What an input does to a thread: pure functions on a draft. No clock, no store, no model.

Each returns whether the model is to be asked (`Next.LEG`) or the draft is complete (`Next.COMMIT`).

    idle ──message──> leg ──answer──────────────────────────────> idle
                       │ └─tool calls──> tools ──last result──> leg
                       └───────────────> approval ──decision──> tools or leg
"""

from __future__ import annotations

import json
from datetime import datetime
from enum import Enum
from typing import Any

from schemas import (
    QUEUED_BYTES,
    Action,
    ApprovalDecision,
    ApprovalResolved,
    CancelRun,
    ChangeThread,
    ContinueThread,
    ExternalEvent,
    GraphInterrupt,
    Input,
    InputRefused,
    Message,
    MessageAdded,
    MultitaskStrategy,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunLimits,
    RunPaused,
    RunQueued,
    RunStarted,
    ThreadChanged,
    ThreadHead,
    ToolResult,
    Topic,
    derived_id,
)
from threads.calls import abandon_approvals, call_fits, find_pending, request_call, settle_call
from threads.cancel_reasons import CANCEL_MESSAGES, CancelReason
from threads.draft import Draft
from threads.evolve import title_of
from threads.forks import CannotBeDone, ends_with_an_answer, go_back_for_run, remove, stood_at

SHOWN = 20_000
"""Characters of changed arguments that the model is shown with the result."""
_CHANGES = {
    "create": Action.THREAD_MADE,
    "update": Action.THREAD_CHANGED,
    "copy": Action.THREAD_COPIED,
    "delete": Action.THREAD_DELETED,
}


class Next(Enum):
    """What follows a transition."""

    COMMIT = "commit"
    LEG = "leg"


def new_head(new: Input, now: datetime) -> ThreadHead:
    """The head of a thread that begins with this input."""
    return ThreadHead(user_id=new.user_id, created_at=now, updated_at=now)


def on_input(draft: Draft, new: Input, limits: RunLimits, strategy: MultitaskStrategy = "enqueue") -> Next:
    """Accepts a message or event: starts a run, queues it, rejects it, or preempts the active run."""
    following = _take(draft, new, limits, strategy)
    actor = "system" if draft.kind == ExternalEvent.TYPE else f"user:{new.user_id}"
    draft.audit(Action.MESSAGE_SENT, actor=actor, run_id=new.run_id, details={"type": draft.kind})
    return following


def _take(draft: Draft, new: Input, limits: RunLimits, strategy: MultitaskStrategy) -> Next:
    if draft.head.deleted:
        draft.event(RunFailed, run_id=new.run_id, code="thread_deleted", message="The thread was deleted.")
        return Next.COMMIT
    if draft.head.run is None and not draft.head.queued:
        return start_run(draft, new)
    if strategy in ("interrupt", "rollback"):
        _cancel_queued(draft, "interrupted")
        if draft.head.run:
            cancel_run(draft, "interrupted" if strategy == "interrupt" else "rolled_back")
        return start_run(draft, new)
    if draft.head.paused:
        abandon_approvals(draft, new.user_id)
        cancel_run(draft, "abandoned")
        return _enqueue(draft, _as_it_waits(new)) if draft.head.queued else start_run(draft, new)
    if strategy == "reject":
        draft.event(RunCancelled, run_id=new.run_id, reason="rejected", message=CANCEL_MESSAGES["rejected"])
        draft.audit(Action.RUN_REJECTED, actor=f"user:{new.user_id}", run_id=new.run_id, outcome="refused")
        return Next.COMMIT
    waiting = _as_it_waits(new)
    too_large = draft.head.queued_bytes + len(waiting.to_bytes()) > QUEUED_BYTES
    if len(draft.head.queued) >= limits.queued_inputs or too_large:
        what = "large messages" if too_large else "messages"
        message = f"{len(draft.head.queued)} {what} wait already; try again when some are answered."
        draft.event(RunFailed, run_id=new.run_id, code="queue_full", message=message)
        draft.audit(Action.RUN_REFUSED, actor="system", run_id=new.run_id, outcome="refused", reason="queue full")
        return Next.COMMIT
    return _enqueue(draft, waiting)


def _as_it_waits(new: Input) -> Input:
    # The text of a graph's input is in its request, and an event has no room for it twice.
    return new.model_copy(update={"text": title_of(new.text)}) if new.kind == "graph" else new


def _enqueue(draft: Draft, waiting: Input) -> Next:
    draft.event(RunQueued, run_id=waiting.run_id, position=len(draft.head.queued) + 1, input=waiting)
    if draft.head.approvals:
        abandon_approvals(draft, waiting.user_id)
    return Next.COMMIT


def start_run(draft: Draft, new: Input) -> Next:
    """Makes the input's run the active one."""
    draft.event(RunStarted, run_id=new.run_id, **_start_of(draft, new))
    draft.request = new.graph
    if new.kind == "graph":
        return Next.LEG
    if new.after is not None:
        try:
            go_back_for_run(draft, new.after)
        except CannotBeDone as error:
            fail_run(draft, "internal_error", str(error))
            return Next.COMMIT
    if not new.text:
        if ends_with_an_answer(draft.history):
            if (after := stood_at(draft)) is not None:
                remove(draft, (), after)
            fail_run(draft, "internal_error", "There is nothing to answer at this point of the conversation.")
            return Next.COMMIT
        return Next.LEG
    message_id = new.message_id or new.input_id
    message = Message(
        message_id=message_id, role="user", text=new.text, run_id=new.run_id, at=new.at, origin=new.origin
    )
    draft.event(MessageAdded, run_id=new.run_id, message=message)
    return Next.LEG


def _start_of(draft: Draft, new: Input) -> dict[str, Any]:
    about = {name: getattr(new, name) for name in ("input_id", "agent_id", "metadata", "time_zone")}
    text = new.text if new.kind == "graph" and not draft.head.title else ""
    return {**about, "input": new.started(title_of(text))}


def fail_next(draft: Draft, note: ContinueThread, code: str, message: str) -> None:
    """Fails the queued run that the note is to start: as one that has started, or where the event of its start is what is too
    large, as one that never did. The next one is requested."""
    queued = draft.head.queued
    if _resumes(draft, note):
        fail_run(draft, code, message)
        return
    if draft.head.run is not None or not queued or queued[0].run_id != note.run_id:
        return
    if draft.fits(RunStarted, run_id=note.run_id, **_start_of(draft, queued[0])):
        if start_run(draft, queued[0]) is Next.LEG:
            fail_run(draft, code, message)
        return
    fail_before_run(draft, note.run_id, code, message)
    request_next(draft)


def on_continue(draft: Draft, note: ContinueThread) -> Next:
    """The previous run is over: the first queued input starts, unless it has started already. Or the active run was held when its
    calls had been answered, and continues."""
    if _resumes(draft, note):
        return Next.LEG
    queued = draft.head.queued
    if draft.head.run is not None or not queued or queued[0].run_id != note.run_id:
        return Next.COMMIT
    return start_run(draft, queued[0])


def _resumes(draft: Draft, note: ContinueThread) -> bool:
    run, pending = draft.head.run, draft.head.pending
    return run is not None and run.run_id == note.run_id and bool(pending) and all(p.state == "done" for p in pending)


def end_all(draft: Draft, why: str) -> None:
    """Ends what runs in a thread and what waits there, because its user may not continue."""
    for waiting in draft.head.queued:
        draft.event(RunCancelled, run_id=waiting.run_id, reason="cancelled", message=why)
    if draft.head.run:
        cancel_run(draft, "cancelled", why)


def cancel_before_run(draft: Draft, run_id: str, why: str) -> None:
    """Ends a run that never started."""
    draft.event(RunCancelled, run_id=run_id, reason="cancelled", message=why)


def on_tool_result(draft: Draft, result: ToolResult) -> Next:
    """Accepts the result of a running call. The last one resumes the run."""
    pending = find_pending(draft.head, result.call_id)
    assert pending, "the caller has looked"
    text = result.content
    if pending.edited:
        arguments = json.dumps(pending.call.arguments, ensure_ascii=False)
        arguments = arguments if len(arguments) <= SHOWN else f"{arguments[:SHOWN]}…"
        text = f"(Before approving, the user changed the arguments to {arguments}.)\n{text}"
    settle_call(draft, pending, text, status=result.status, duration_ms=result.duration_ms)
    return resume_or_pause(draft)


def on_decision(draft: Draft, decision: ApprovalDecision) -> Next:
    """The user decides on a call that requires approval."""
    pending = find_pending(draft.head, decision.call_id)
    run = draft.head.run
    if pending is None or pending.state != "approval" or run is None:
        return refuse(draft, f"no approval is open for the call {decision.call_id}")
    if decision.arguments is not None:
        edited_call = pending.call.model_copy(update={"arguments": decision.arguments})
        if not call_fits(draft, edited_call):
            return refuse(draft, "the new arguments are more than fits into one call")
    actor = f"user:{decision.user_id}"
    draft.event(
        ApprovalResolved,
        run_id=run.run_id,
        call_id=decision.call_id,
        decision=decision.decision,
        by=decision.user_id,
        input_id=draft.input_id,
    )
    draft.audit(
        Action.APPROVAL_DECIDED,
        actor=actor,
        run_id=run.run_id,
        subject=decision.call_id,
        details={"tool": pending.call.name, "decision": decision.decision},
    )
    if decision.decision == "reject":
        reason = f" Reason: {decision.message}" if decision.message else ""
        settle_call(draft, pending, f"The user declined this call.{reason}", status="refused", origin="user")
    elif decision.decision == "respond":
        settle_call(draft, pending, decision.message or "", status="ok", origin="user")
    else:
        changed = {"arguments": decision.arguments} if decision.decision == "edit" else {}
        request_call(draft, pending.call.model_copy(update=changed), approved_by=decision.user_id)
    return resume_or_pause(draft)


def on_cancel(draft: Draft, cancel: CancelRun) -> Next:
    """The user cancels the active run, or a queued one."""
    run = draft.head.run
    if run and cancel.run_id in (None, run.run_id):
        cancel_run(draft, "rolled_back" if cancel.rollback else "cancelled")
        return Next.COMMIT
    waiting = next((q for q in draft.head.queued if q.run_id == cancel.run_id), None)
    if waiting:
        draft.event(RunCancelled, run_id=waiting.run_id, reason="cancelled", message=CANCEL_MESSAGES["cancelled"])
        actor = f"user:{cancel.user_id}"
        draft.audit(Action.RUN_CANCELLED, actor=actor, run_id=waiting.run_id, reason="cancelled while it was queued")
        return Next.COMMIT
    if cancel.delayed:
        if draft.input_id == cancel.run_id:
            reason: CancelReason = "rejected" if cancel.rejected else "cancelled"
            draft.event(RunCancelled, run_id=cancel.run_id, reason=reason, message=CANCEL_MESSAGES[reason])
            action = Action.RUN_REJECTED if cancel.rejected else Action.RUN_CANCELLED
            draft.audit(action, actor=f"user:{cancel.user_id}", run_id=cancel.run_id, reason="not begun")
        return Next.COMMIT
    last = draft.head.last
    if last and last.outcome == "cancelled" and cancel.run_id in (None, last.run_id):
        return Next.COMMIT  # its model call was stopped as soon as this record came in
    return refuse(draft, f"the run {cancel.run_id} is not active" if cancel.run_id else "no run is active")


def on_change(draft: Draft, change: ChangeThread) -> Next:
    """The user makes, renames, labels or deletes the thread."""
    head = draft.head
    if change.expired and not _is_over(head, change.expired):
        return Next.COMMIT  # no user requested it, and whoever set the timer checks again
    if head.deleted:
        return refuse(draft, "the thread was deleted")
    if change.action == "create" and draft.base.head is not None:
        return refuse(draft, "the thread exists")
    changed: dict[str, Any] = {}
    if change.action == "delete":
        _cancel_queued(draft, "cancelled")
        if head.run:
            cancel_run(draft, "cancelled")
        draft.rows, draft.restore = (), None
    else:
        metadata = {**head.metadata, **(change.metadata or {})}
        changed = {
            "title": head.title if change.title is None else change.title,
            "metadata": {name: value for name, value in metadata.items() if value is not None},
            "ttl": change.ttl or head.ttl,
        }
    draft.event(ThreadChanged, run_id=draft.input_id, action=change.action, input_id=draft.input_id, **changed)
    draft.audit(_CHANGES[change.action], actor=f"user:{change.user_id}", run_id=change.hide_run)
    return Next.COMMIT


def _is_over(head: ThreadHead, expired: datetime) -> bool:
    """Whether the thread still says that its time is up then, and nothing runs in it."""
    return not head.deleted and head.ttl is not None and head.ttl.expires_at == expired and head.condition != "busy"


def refuse(draft: Draft, reason: str, *, no_thread: bool = False) -> Next:
    """Rejects the input; the user sees why. `no_thread`: it was to create the thread, which does not exist now."""
    run_id = draft.head.run.run_id if draft.head.run else draft.input_id
    draft.event(InputRefused, run_id=run_id, input_id=draft.input_id, reason=reason, no_thread=no_thread)
    draft.audit(Action.INPUT_REFUSED, actor=f"user:{draft.head.user_id}", outcome="refused", reason=reason)
    return Next.COMMIT


def resume_or_pause(draft: Draft) -> Next:
    """After a call was settled: calls the model when no call is open, pauses when only the user's decisions are."""
    if all(p.state == "done" for p in draft.head.pending):
        return Next.LEG
    if draft.head.status == "approval":
        pause(draft)
    return Next.COMMIT


def pause(draft: Draft) -> None:
    """The run waits for its user alone; the time until they decide does not count towards its limit."""
    run = draft.run
    waiting = tuple(asked.id for asked in draft.head.approvals)
    draft.event(RunPaused, run_id=run.run_id, reason="approval", call_ids=waiting)


def cancel_run(draft: Draft, reason: CancelReason, message: str = "") -> None:
    """Ends the active run without an answer; `message` says why where the reason does not. Running calls get a result, so that no
    provider sees a call without one; the calls themselves cannot be stopped, as the text explains."""
    run = draft.run
    for pending in draft.head.pending:
        if pending.state == "approval":
            draft.event(
                ApprovalResolved,
                run_id=run.run_id,
                call_id=pending.call.call_id,
                decision="cancelled",
                by=draft.head.user_id,
            )
            settle_call(draft, pending, "Not done: the run was ended.", status="cancelled")
        elif pending.state == "running":
            text = "The run was ended while this call was in flight; it may have been executed."
            settle_call(draft, pending, text, status="cancelled")
    if reason == "rolled_back":
        remove(draft, draft.ids_from(run.first_message), stood_at(draft))
        draft.restore = run.state_before if draft.state_before is None else draft.state_before
    draft.event(RunCancelled, run_id=run.run_id, reason=reason, message=message or CANCEL_MESSAGES[reason])
    draft.audit(Action.RUN_CANCELLED, actor=f"user:{draft.head.user_id}", run_id=run.run_id, reason=reason)
    request_next(draft)


def fail_run(draft: Draft, code: str, message: str, *, error: str = "", asks: tuple[GraphInterrupt, ...] = ()) -> None:
    """Ends the active run with a failure that the user sees. `error` is the class of a graph's own exception, `asks` its
    questions that stay open."""
    run = draft.run
    for pending in draft.head.pending:
        if pending.state != "done":
            settle_call(draft, pending, "The run failed before this call had a result.", status="cancelled")
    draft.event(RunFailed, run_id=run.run_id, code=code, message=message, error=error, asks=asks)
    draft.audit(Action.RUN_FAILED, actor="system", run_id=run.run_id, outcome="failed", reason=code)
    request_next(draft)


def complete_run(draft: Draft, message_id: str | None, notice: str | None = None) -> None:
    """Completes the active run. `message_id` is of its answer, the last message that a model wrote in it, if there is one."""
    run = draft.run
    draft.event(
        RunCompleted, run_id=run.run_id, message_id=message_id, turns=run.turns, usage=run.counted, notice=notice
    )
    draft.audit(Action.RUN_COMPLETED, actor=f"agent:{run.agent_id}", run_id=run.run_id, details={"turns": run.turns})
    request_next(draft)


def fail_before_run(draft: Draft, run_id: str, code: str, message: str) -> None:
    """Fails a run that never started. If no other run is active, this is how the thread's newest run ended."""
    draft.event(RunFailed, run_id=run_id, code=code, message=message)


def request_next(draft: Draft) -> None:
    """The thread is idle again: a record to itself starts the next queued input."""
    if draft.head.queued:
        following = draft.head.queued[0].run_id
        record_id = derived_id("next", draft.thread, following)
        draft.send(Topic.CHAT_MESSAGES, ContinueThread(run_id=following), record_id=record_id)


def _cancel_queued(draft: Draft, reason: CancelReason) -> None:
    for waiting in draft.head.queued:
        draft.event(RunCancelled, run_id=waiting.run_id, reason=reason, message=CANCEL_MESSAGES[reason])
        actor = f"user:{draft.head.user_id}"
        draft.audit(Action.RUN_CANCELLED, actor=actor, run_id=waiting.run_id, reason=f"{reason} while it was queued")
