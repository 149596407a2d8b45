"""What the model's answer does to a thread: it ends the run, or asks for tools. Pure functions on a draft."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from processors.turns.calls import request_call, settle_call
from processors.turns.draft import Draft
from processors.turns.transitions import Next, end_run, fail_run, go_on
from schemas import (
    ApprovalRequested,
    Message,
    MessageAdded,
    PendingCall,
    RunCompleted,
    RunLimits,
    TokenUsage,
    ToolCall,
)

NOTHING_USED = TokenUsage()


@dataclass(frozen=True, slots=True)
class AskedTool:
    """A tool call as the model wrote it. `problem` is set when its arguments could not be read."""

    name: str
    arguments: dict[str, Any]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model call came to."""

    text: str
    tools: tuple[AskedTool, ...] = ()
    usage: TokenUsage = NOTHING_USED
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the policy says about a tool call. `reason` is told to the model when it is refused."""

    verdict: Literal["run", "approval", "refuse"]
    reason: str = ""
    description: str = ""


Policy = Callable[[str], Ruling]
"""Rules on a tool by its name."""


def message_id(run_id: str, turn: int) -> str:
    """Id of the message that the run's n-th turn writes, 1 for the first; deltas carry it before the message exists."""
    return f"{run_id}.{turn}"


def on_answer(draft: Draft, answer: Answer, policy: Policy) -> Next:
    """Writes the model's message. `Next.LEG` when every call it asked for was refused, so that it is asked again."""
    run = draft.head.run
    assert run
    turn = run.turns + 1
    usage = run.usage.plus(answer.usage)
    draft.change_run(turns=turn, usage=usage)
    calls = tuple(
        ToolCall(call_id=f"{run.run_id}.{turn}.{n}", name=asked.name, arguments=asked.arguments)
        for n, asked in enumerate(answer.tools, 1)
    )
    message = Message(
        message_id=message_id(run.run_id, turn),
        role="assistant",
        text=answer.text,
        run_id=run.run_id,
        at=draft.now,
        tool_calls=calls,
        usage=answer.usage,
        model=answer.model,
    )
    draft.message(message)
    draft.event(MessageAdded, run_id=run.run_id, message=message)
    if not calls:
        draft.event(RunCompleted, run_id=run.run_id, message_id=message.message_id, turns=turn, usage=usage)
        draft.audit("run.completed", actor=f"agent:{run.agent_id}", run_id=run.run_id, details={"turns": turn})
        end_run(draft, "completed")
        return Next.COMMIT
    draft.change(pending=tuple(PendingCall(call=call, state="running") for call in calls))
    for call, asked in zip(calls, answer.tools, strict=True):
        _rule_on(draft, call, asked, policy)
    return go_on(draft)


def _rule_on(draft: Draft, call: ToolCall, asked: AskedTool, policy: Policy) -> None:
    run = draft.head.run
    assert run
    pending = next(p for p in draft.head.pending if p.call.call_id == call.call_id)
    ruling = policy(call.name)
    problem = asked.problem or (ruling.reason if ruling.verdict == "refuse" else None)
    if problem:
        status: Literal["error", "refused"] = "error" if asked.problem else "refused"
        settle_call(draft, pending, problem, status=status, failed=True)
        draft.audit(
            "tool.refused",
            actor=f"agent:{run.agent_id}",
            run_id=run.run_id,
            outcome="refused",
            subject=call.name,
            reason=problem[:300],
        )
    elif ruling.verdict == "approval":
        waiting = tuple(
            p.model_copy(update={"state": "approval"}) if p.call.call_id == call.call_id else p
            for p in draft.head.pending
        )
        draft.change(pending=waiting)
        draft.event(
            ApprovalRequested,
            run_id=run.run_id,
            call_id=call.call_id,
            name=call.name,
            arguments=call.arguments,
            description=ruling.description,
        )
        draft.audit("approval.requested", actor=f"agent:{run.agent_id}", run_id=run.run_id, subject=call.name)
    else:
        request_call(draft, call.call_id)


def within_limits(draft: Draft, limits: RunLimits) -> bool:
    """Whether the run may ask the model once more; ends it with a clear failure when not."""
    run = draft.head.run
    assert run
    if run.turns >= limits.turns:
        fail_run(draft, "limit_turns", f"The run was stopped after {run.turns} turns, the limit of this agent.")
    elif run.usage.total >= limits.tokens:
        words = f"The run was stopped after {run.usage.total:,} tokens; the limit of this agent is {limits.tokens:,}."
        fail_run(draft, "limit_tokens", words)
    elif seconds_left(draft, limits) <= 0:
        fail_run(draft, "limit_seconds", f"The run was stopped after {limits.seconds:g} s, the limit of this agent.")
    else:
        return True
    return False


def seconds_left(draft: Draft, limits: RunLimits) -> float:
    """Seconds of work that the run has left."""
    run = draft.head.run
    assert run
    return limits.seconds - run.spent_seconds - (draft.now - run.resumed_at).total_seconds()
