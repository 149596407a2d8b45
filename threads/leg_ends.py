"""What a leg returns, and what that does to its thread. Pure functions on a draft.

A leg is what an agent does in one turn: a model is called once, or a graph runs up to its end or an interrupt. Either
ends in one of five ways, and its turn is committed with that end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from schemas import (
    Action,
    AnswerDiscarded,
    ApprovalRequested,
    Ending,
    GraphInterrupt,
    GraphStreamed,
    Message,
    MessageAdded,
    ProviderPart,
    RunLimits,
    StateRow,
    TokenUsage,
    ToolCall,
)
from threads.calls import name_call, request_call, settle_call
from threads.cancel_reasons import CancelReason
from threads.draft import Draft
from threads.graph_transitions import add_messages, pause_graph
from threads.references import references
from threads.transitions import Next, cancel_run, complete_run, fail_run, resume_or_pause

EMPTY_ANSWERS = 2
"""Empty answers in a row, after which the run fails."""
SPOILT_ANSWERS = 3
"""Answers in a row without a single readable call, after which the run fails."""

_NOT_WHOLE: dict[Ending | None, str] = {
    None: "",
    "cut": "The answer is not whole: it reached the model's limit of output tokens.",
    "filtered": "The answer is not whole: the provider's content filter held back the rest.",
}
_UNENDED = "The answer may not be whole: the model's server stopped without saying that it had come to its end."
_MORE_TOKENS = "Ask for less at a time, or raise the limit: cauce tenant set TENANT --max-output-tokens N"


@dataclass(frozen=True, slots=True)
class AskedTool:
    """A tool call as the model wrote it. `problem` is set when its arguments could not be read."""

    name: str
    arguments: dict[str, Any]
    problem: str | None = None


ProviderOf = Callable[[Sequence[str]], ProviderPart | None]
"""Makes what the provider wants back with the message, of our ids of its calls."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one model call."""

    text: str
    tools: tuple[AskedTool, ...] = ()
    usage: TokenUsage | None = None
    """None where the provider did not count."""
    model: str | None = None
    ending: Ending | None = None
    """Why it is not whole."""
    unended: bool = False
    """The provider says with every answer why it ended, and did not with this one."""
    paused: bool = False
    """The model asks to be called again and to continue from here."""
    estimated_tokens: int = 0
    """Estimate for the call, where the provider did not count."""
    provider: ProviderOf | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """The policy's verdict on a tool call. The model is given `reason` if the call is refused."""

    verdict: Literal["run", "approval", "refuse"]
    reason: str = ""
    description: str = ""


Policy = Callable[[str], Ruling]
"""Rules on a tool by its name."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A model has answered: with a text, which ends the run, or with tool calls."""

    answer: Answer
    policy: Policy
    """Which calls are made, are asked about, or are refused."""
    notice: str = ""
    """Shown to the user at the end of the run."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A graph has ended. `message_id` is of the last message that a model wrote, where one did."""

    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A graph is paused. Without questions it stops before or after a node, as its caller requested."""

    interrupts: tuple[GraphInterrupt, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The run fails. `message` is for its user, `error` is the class of a graph's own exception."""

    code: str
    message: str
    error: str = ""
    asks: tuple[GraphInterrupt, ...] = ()
    """Questions of the graph that stay open nevertheless."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A record that came meanwhile has stopped it."""

    reason: CancelReason


LegEnd = Answered | Finished | Asked | Failed | Stopped


@dataclass(frozen=True, slots=True)
class GraphWork:
    """What a graph has done to its thread's state up to the leg's end."""

    began_at: str
    """The checkpoint that it began at, empty for none."""
    rows: tuple[StateRow, ...] = ()
    """What the state has gained and is not committed yet."""
    next_row: int | None = None
    """The number of the row after them; None where nothing is kept."""
    streamed: tuple[Mapping[str, Any], ...] = ()
    """Fields of `GraphStreamed`."""
    messages: tuple[Message, ...] = ()
    """What the conversation has gained."""


@dataclass(frozen=True, slots=True)
class LegResult:
    """What a leg returns."""

    end: LegEnd
    at: datetime | None = None
    """When it ended; None where it did not begin."""
    work: GraphWork | None = None
    """None where no graph has worked."""


def on_leg(draft: Draft, result: LegResult) -> Next:
    """Writes the result of the leg of the draft's run. `Next.LEG` where another one follows in the same turn."""
    draft.now = result.at or draft.now
    if result.work:
        _keep(draft, result.work)
    return _ENDS[type(result.end)](draft, result.end)


def _keep(draft: Draft, work: GraphWork) -> None:
    run_id, before = draft.run.run_id, draft.run.state_before
    draft.state_before = work.began_at if before is None else before
    draft.restore = None
    if work.next_row is not None:
        draft.rows = work.rows
        draft.count_rows(work.next_row)
    for part in work.streamed:
        draft.event(GraphStreamed, run_id=run_id, **part)
    add_messages(draft, work.messages)


def _answered(draft: Draft, end: Answered) -> Next:
    return on_answer(draft, end.answer, end.policy, end.notice)


def _finished(draft: Draft, end: Finished) -> Next:
    complete_run(draft, end.message_id)
    return Next.COMMIT


def _asked(draft: Draft, end: Asked) -> Next:
    pause_graph(draft, end.interrupts)
    return Next.COMMIT


def _failed(draft: Draft, end: Failed) -> Next:
    fail_run(draft, end.code, end.message, error=end.error, asks=end.asks)
    return Next.COMMIT


def _stopped(draft: Draft, end: Stopped) -> Next:
    cancel_run(draft, end.reason)
    return Next.COMMIT


_ENDS: Mapping[type, Callable[[Draft, Any], Next]] = {
    Answered: _answered,
    Finished: _finished,
    Asked: _asked,
    Failed: _failed,
    Stopped: _stopped,
}


def message_id(run_id: str, turn: int) -> str:
    """Id of the message that the run's n-th turn writes, 1 for the first; deltas carry it before the message exists."""
    return f"{run_id}.{turn}"


def on_answer(draft: Draft, answer: Answer, policy: Policy, notice: str = "") -> Next:
    """Writes the model's message. `Next.LEG` when it is to be called again: all its calls were refused, or its answer was empty.

    `notice` is shown to the user at the end of the run.
    """
    run = draft.run
    turn, estimated = run.turns + 1, 0 if answer.usage else answer.estimated_tokens
    if not answer.tools and not answer.text.strip():
        draft.event(AnswerDiscarded, run_id=run.run_id, usage=answer.usage, estimated_tokens=estimated)
        return _nothing_said(draft, answer, notice)
    spoilt = run.spoilt + 1 if answer.paused or (answer.tools and all(a.problem for a in answer.tools)) else 0
    calls = tuple(
        ToolCall(call_id=name_call(run.run_id, turn, n), name=asked.name, arguments=asked.arguments)
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
        ending=answer.ending,
        provider=answer.provider([call.call_id for call in calls]) if answer.provider else None,
    )
    draft.event(MessageAdded, run_id=run.run_id, message=message, estimated_tokens=estimated, spoilt=spoilt)
    if not calls and answer.paused and spoilt < SPOILT_ANSWERS:
        return Next.LEG
    if not calls:
        remark = _sentences(_NOT_WHOLE["cut" if answer.paused else answer.ending] or _unended(answer), notice)
        complete_run(draft, message.message_id, remark or None)
        return Next.COMMIT
    for call, asked in zip(calls, answer.tools, strict=True):
        _rule_on(draft, call, asked, policy)
    if spoilt >= SPOILT_ANSWERS:
        reason = (
            f"The model asked for tools {spoilt} times in a row, and no call could be made: {answer.tools[0].problem}"
        )
        fail_run(draft, "model_error", _sentences(reason, _MORE_TOKENS if answer.ending == "cut" else "", notice))
        return Next.COMMIT
    return resume_or_pause(draft)


def _unended(answer: Answer) -> str:
    return _UNENDED if answer.unended else ""


def _nothing_said(draft: Draft, answer: Answer, notice: str) -> Next:
    """The model's message has neither text nor calls. It is not written: no provider takes a history with such a message."""
    run = draft.run
    if answer.ending == "filtered":
        reason = (
            "The provider's content filter held the model's answer back. Say it in other words, or in a new thread."
        )
    elif run.spoilt < EMPTY_ANSWERS:
        return Next.LEG
    elif answer.ending == "cut":
        reason = f"The model reached its limit of output tokens before it had said anything. {_MORE_TOKENS}"
    else:
        reason = f"The model gave an empty answer, {EMPTY_ANSWERS} times in a row. Say it in other words, or try again."
    fail_run(draft, "model_error", _sentences(reason, notice))
    return Next.COMMIT


def _sentences(*texts: str) -> str:
    return " ".join(filter(None, texts))


def _rule_on(draft: Draft, call: ToolCall, asked: AskedTool, policy: Policy) -> None:
    run = draft.run
    pending = next(p for p in draft.head.pending if p.call.call_id == call.call_id)
    ruling = policy(call.name)
    problem = asked.problem or (ruling.reason if ruling.verdict == "refuse" else None)
    if problem:
        status: Literal["error", "refused"] = "error" if asked.problem else "refused"
        settle_call(draft, pending, problem, status=status)
        draft.audit(
            Action.TOOL_REFUSED,
            actor=f"agent:{run.agent_id}",
            run_id=run.run_id,
            outcome="refused",
            subject=call.name,
            reason=problem[:300],
        )
    elif ruling.verdict == "approval":
        asking: dict[str, Any] = {
            "run_id": run.run_id,
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments,
            "description": ruling.description,
        }
        concerns = references(call.arguments, draft.history)
        if concerns and not draft.fits(ApprovalRequested, **asking, concerns=concerns):
            concerns = {}
        draft.event(ApprovalRequested, **asking, concerns=concerns)
        draft.audit(Action.APPROVAL_REQUESTED, actor=f"agent:{run.agent_id}", run_id=run.run_id, subject=call.name)
    else:
        request_call(draft, call)


def over_limits(draft: Draft, limits: RunLimits) -> tuple[str, str] | None:
    """Why the run may not call the model again: the code and the message of its failure. None where it may."""
    run = draft.run
    if run.turns >= limits.turns:
        return "limit_turns", f"The run was stopped after {run.turns} turns, the limit of this agent."
    if (used := run.usage.total + run.estimated_tokens) >= limits.tokens:
        about = "about " if run.estimated_tokens else ""
        message = f"The run was stopped after {about}{used:,} tokens; the limit of this agent is {limits.tokens:,}."
        return "limit_tokens", message
    if seconds_left(draft, limits) <= 0:
        return "limit_seconds", f"The run was stopped after {limits.seconds:g} s, the limit of this agent."
    return None


def seconds_left(draft: Draft, limits: RunLimits) -> float:
    """Seconds of work that the run has left."""
    run = draft.run
    return limits.seconds - run.spent_seconds - (draft.now - run.resumed_at).total_seconds()
