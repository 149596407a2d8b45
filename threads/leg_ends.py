"""What a leg gives back, and what that does to its thread. Pure functions on a draft.

A leg is what an agent does in one turn: a model is asked once, or a graph runs up to its end or an interrupt. Whatever did it, it
ends in one of five ways, and its turn is committed with that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas import GraphInterrupt, GraphStreamed, Message, StateRow
from threads.answers import Answer, Policy, on_answer
from threads.draft import Draft
from threads.graph_transitions import add_messages, pause_graph
from threads.transitions import CancelReason, Next, cancel_run, complete_run, fail_run


@dataclass(frozen=True, slots=True)
class Answered:
    """A model has answered: in words, which end the run, or with tool calls."""

    answer: Answer
    policy: Policy
    """Which calls are made, are asked about, or are refused."""
    notice: str = ""
    """What the user is told with the end of the run."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A graph has come to its end. `message_id` is of the last message that a model wrote, where one did."""

    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A graph waits for its user. Without questions it stops before or after a node, as its caller wished."""

    interrupts: tuple[GraphInterrupt, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """The run fails. `words` are for its user, `error` is the class of a graph's own exception."""

    code: str
    words: str
    error: str = ""
    asks: tuple[GraphInterrupt, ...] = ()
    """What the graph waits for nevertheless."""


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
    """What a leg gives back."""

    end: LegEnd
    at: datetime | None = None
    """When it ended; None where it did not begin."""
    work: GraphWork | None = None
    """None where no graph has worked."""


def on_leg(draft: Draft, result: LegResult) -> Next:
    """Writes what the leg of the draft's run has come to. `Next.LEG` where another one follows at once."""
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
    fail_run(draft, end.code, end.words, error=end.error, asks=end.asks)
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
