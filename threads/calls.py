"""The pending tool calls of a run: how they are requested, settled and abandoned. Pure functions on a draft."""

from __future__ import annotations

from typing import Literal

from schemas import (
    ApprovalResolved,
    PendingCall,
    ThreadHead,
    TooLarge,
    ToolCall,
    ToolFinished,
    ToolRequest,
    ToolRequested,
    Topic,
    check_body,
)
from threads.draft import Draft


def find_pending(head: ThreadHead, call_id: str) -> PendingCall | None:
    """The pending call of this id."""
    return next((p for p in head.pending if p.call.call_id == call_id), None)


def name_call(run_id: str, turn: int, n: int) -> str:
    """The id of the n-th call of a turn."""
    return f"{run_id}.{turn}.{n}"


def is_call_of(call_id: str, run_id: str) -> bool:
    """Whether only this run can ask for a call of this id (`name_call`)."""
    return call_id.startswith(f"{run_id}.")


def request_call(draft: Draft, call: ToolCall, *, approved_by: str | None = None) -> None:
    """Sends the request of a pending call, whose arguments may be others than the model wrote."""
    draft.send(Topic.TOOL_REQUESTS, _request(draft, call, approved_by), record_id=call.call_id)
    draft.event(ToolRequested, run_id=draft.run.run_id, call_id=call.call_id, name=call.name, arguments=call.arguments)


def call_fits(draft: Draft, call: ToolCall) -> bool:
    """Whether the call can be requested, also when a person has approved it."""
    try:
        check_body(Topic.TOOL_REQUESTS, _request(draft, call, draft.head.user_id))
    except TooLarge:
        return False
    return True


def _request(draft: Draft, call: ToolCall, approved_by: str | None) -> ToolRequest:
    return ToolRequest(
        call_id=call.call_id,
        run_id=draft.run.run_id,
        user_id=draft.head.user_id,
        name=call.name,
        arguments=call.arguments,
        approved_by=approved_by,
    )


def settle_call(
    draft: Draft,
    pending: PendingCall,
    text: str,
    *,
    status: Literal["ok", "error", "refused", "unknown", "cancelled"],
    duration_ms: float = 0,
    origin: Literal["user"] | None = None,
) -> None:
    """Writes the result of a call. It is done. `origin` is `user` where the text is the user's and no tool's."""
    run, call = draft.run, pending.call
    draft.event(
        ToolFinished,
        run_id=run.run_id,
        call_id=call.call_id,
        name=call.name,
        status=status,
        content=text,
        duration_ms=duration_ms,
        origin=origin,
    )


def abandon_approvals(draft: Draft, user_id: str) -> None:
    """The user wrote a message instead of deciding: the open approvals are settled, and the model is informed."""
    run = draft.run
    for pending in draft.head.pending:
        if pending.state == "approval":
            call_id = pending.call.call_id
            draft.event(ApprovalResolved, run_id=run.run_id, call_id=call_id, decision="abandoned", by=user_id)
            text = "Not done: the user sent a new message instead of deciding about this call."
            settle_call(draft, pending, text, status="cancelled")
