"""The next step for a tool call, given its ledger entry. Pure: the promise "never twice" is decided here.

A call moves `(none) -> sent -> done | unknown`, and back to `intent` where it was certainly not executed. One owner, a
slot's worker at one time, moves it; the ledger's conditional writes see to that.
"""

from __future__ import annotations

from enum import Enum

from schemas import ActiveRun, LedgerEntry, ThreadHead, ToolRequest


class Step(Enum):
    """The next step for a call."""

    CLAIM = "claim"
    """Nobody has begun it: claim it as sent, then send it."""
    SEND = "send"
    """The call was withdrawn: move it to sent, then send it."""
    REPEAT = "repeat"
    """A previous owner may have sent it, and sending it again does no harm: take it over and send it."""
    CHECK = "check"
    """A previous owner may have sent it: take it over and find out by a read; never send it."""
    ANSWER = "answer"
    """The call is settled: return the stored result."""


def next_step(entry: LedgerEntry | None, *, repeatable: bool) -> Step:
    """The next step for a call with this ledger entry. `repeatable`: read-only or idempotent."""
    if entry is None:
        return Step.CLAIM
    if entry.state in ("done", "unknown"):
        return Step.ANSWER
    if entry.state == "intent":
        return Step.SEND
    return Step.REPEAT if repeatable else Step.CHECK


def run_that_asks(head: ThreadHead, request: ToolRequest) -> ActiveRun | None:
    """The run of the thread that waits for exactly this call; None where there is none. A call that waits for its approval
    is not asked for; one that was approved is, with the arguments that its user approved."""
    run = head.run
    if head.deleted or head.user_id != request.user_id or run is None or run.run_id != request.run_id:
        return None
    asked = next((pending for pending in head.pending if pending.call.call_id == request.call_id), None)
    if asked is None or asked.state != "running":
        return None
    same = (asked.call.name, asked.call.arguments) == (request.name, request.arguments)
    return run if same else None
