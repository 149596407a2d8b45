"""The tool calls that a run waits for: how they are asked for, settled and given up. Pure functions on a draft."""

from __future__ import annotations

from typing import Literal

from schemas import (
    ApprovalResolved,
    Message,
    PendingCall,
    ThreadHead,
    ToolFinished,
    ToolRequested,
    derived_id,
)
from threads.draft import Draft


def find_pending(head: ThreadHead, call_id: str) -> PendingCall | None:
    """The pending call of this id."""
    return next((p for p in head.pending if p.call.call_id == call_id), None)


def request_call(draft: Draft, call_id: str, *, approved_by: str | None = None) -> None:
    """Sends the request of a pending call."""
    pending, run = find_pending(draft.head, call_id), draft.head.run
    assert pending
    assert run
    call = pending.call
    draft.tool_request(call, run_id=run.run_id, approved_by=approved_by)
    draft.event(ToolRequested, run_id=run.run_id, call_id=call.call_id, name=call.name, arguments=call.arguments)


def settle_call(
    draft: Draft,
    pending: PendingCall,
    text: str,
    *,
    status: Literal["ok", "error", "refused", "unknown", "cancelled"],
    failed: bool,
    duration_ms: float = 0,
) -> None:
    """Writes the tool message of a call and marks it done."""
    run = draft.head.run
    assert run
    call = pending.call
    message = Message(
        message_id=derived_id("msg", call.call_id),
        role="tool",
        text=text,
        run_id=run.run_id,
        at=draft.now,
        call_id=call.call_id,
        tool_name=call.name,
        failed=failed,
    )
    draft.message(message)
    draft.event(
        ToolFinished,
        run_id=run.run_id,
        call_id=call.call_id,
        name=call.name,
        status=status,
        content=text,
        duration_ms=duration_ms,
    )
    replace_call(draft, pending.model_copy(update={"state": "done"}))


def abandon_approvals(draft: Draft, user_id: str) -> None:
    """The user wrote instead of deciding: the open approvals are settled, and the model is told."""
    run = draft.head.run
    assert run
    for pending in draft.head.pending:
        if pending.state == "approval":
            call_id = pending.call.call_id
            draft.event(ApprovalResolved, run_id=run.run_id, call_id=call_id, decision="abandoned", by=user_id)
            text = "Not done: the user sent a new message instead of deciding about this call."
            settle_call(draft, pending, text, status="cancelled", failed=True)


def replace_call(draft: Draft, pending: PendingCall) -> None:
    """Puts this in the place of the pending call of the same id."""
    draft.change(pending=tuple(pending if p.call.call_id == pending.call.call_id else p for p in draft.head.pending))
