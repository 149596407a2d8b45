"""Runs as protocols see them, put together of what the store knows: the promise, the thread's head, the row of the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from core.following.position import Position, RunEnd
from schemas import AcceptedRun, GraphRequest, RunKind, StoredRun, ThreadHead, TokenUsage
from schemas.common.clock import utc_now

RunStatus = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
OVER: tuple[RunStatus, ...] = ("completed", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class NewRun:
    """A message that starts a run; or, with `graph`, what a hosted graph is to do, on which `text` has no say."""

    text: str = ""
    agent_id: str = "default"
    multitask_strategy: str = "enqueue"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    graph: GraphRequest | None = None
    after: int | None = None
    """The number of the message that this one follows, where that is not the newest; without `text` the agent answers it."""
    time_zone: str | None = None
    """IANA name of the zone that the user is in now."""
    delay: timedelta | None = None
    """How much later it begins."""

    @property
    def kind(self) -> RunKind:
        """What does the work."""
        return "graph" if self.graph else "agent"


@dataclass(frozen=True, slots=True)
class RunView:
    """A run in its present state. `first_event` and `last_event` are numbers of the thread's events, where they are known."""

    run_id: str
    thread_id: str
    agent_id: str
    status: RunStatus
    created_at: datetime
    updated_at: datetime
    metadata: Mapping[str, Any] = field(default_factory=dict)
    multitask_strategy: str = "enqueue"
    details: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    message: str = ""
    error: str = ""
    """The exception's class, where a graph failed."""
    first_event: int | None = None
    last_event: int | None = None
    usage: TokenUsage | None = field(default_factory=TokenUsage)
    """None where no provider counted."""
    begins_at: datetime | None = None
    """When a delayed run starts, as long as its thread does not know it."""
    as_of: int = 0
    """The thread's last event when this was read."""
    kind: RunKind | None = None
    """None where what is known of it was written by a version that did not store it."""
    graph: str = ""
    """The hosted graph, if the kind is `graph`."""

    @property
    def size(self) -> int:
        """Bytes that it has in an answer without its details, about."""
        return 600 + len(json.dumps(dict(self.metadata))) + len(self.message.encode(errors="replace"))

    @property
    def delay(self) -> float:
        """Seconds until it begins; 0 for one that has, or could have."""
        return max(0.0, (self.begins_at - utc_now()).total_seconds()) if self.begins_at else 0.0


def accepted_view(thread_id: str, run: AcceptedRun) -> RunView:
    """A run of which nothing but its promise is known."""
    return RunView(
        run.run_id,
        thread_id,
        run.agent_id,
        "pending",
        run.at,
        run.at,
        run.metadata,
        run.multitask_strategy,
        run.details,
        begins_at=run.begins_at,
        kind=run.kind,
        graph=run.graph,
    )


def in_head(thread_id: str, head: ThreadHead, run_id: str, known: AcceptedRun | None) -> RunView | None:
    """The run where the thread's head names it."""
    details = known.details if known else {}
    strategy = known.multitask_strategy if known else "enqueue"
    if (run := head.run) and run.run_id == run_id:
        status: RunStatus = "paused" if head.paused else "running"
        return RunView(
            run_id,
            thread_id,
            run.agent_id,
            status,
            known.at if known else run.started_at,
            head.updated_at,
            run.metadata,
            strategy,
            details,
            first_event=run.first_event or None,
            usage=run.counted,
            kind=run.kind,
            graph=run.graph_name,
        )
    for waiting in head.queued:
        if waiting.run_id == run_id:
            at = known.at if known else waiting.at
            found = RunView(run_id, thread_id, waiting.agent_id, "pending", at, at, waiting.metadata, strategy, details)
            return replace(found, kind=waiting.kind, graph=waiting.graph_name)
    return None


def over_view(thread_id: str, run: StoredRun, known: AcceptedRun | None) -> RunView:
    """A run that is over."""
    return RunView(
        run.run_id,
        thread_id,
        run.agent_id or (known.agent_id if known else ""),
        run.outcome,
        known.at if known else run.accepted_at,
        run.ended_at,
        run.metadata or (known.metadata if known else {}),
        known.multitask_strategy if known else "enqueue",
        known.details if known else {},
        run.code,
        run.message,
        run.error,
        run.first_event,
        run.last_event,
        run.usage,
        kind=run.kind or (known.kind if known else None),
        graph=run.graph or (known.graph if known else ""),
    )


def joins_at(view: RunView, given: Position | None) -> Position:
    """Where who joins a run begins: at what it has given, but not before the run; without it from now on, and from the run's
    beginning where it is over or waits. "Now" is when the run was looked at: its end may have come since."""
    begin = (view.first_event or view.as_of + 1) - 1
    if given is not None:
        return given if given.seq >= begin else Position(begin)
    return Position(begin if view.status in (*OVER, "paused") else view.as_of)


def until(view: RunView, position: Position) -> RunEnd:
    """Where a reader at this position comes to the end of what is known of a run. A run that waits has perhaps waited before."""
    newest = view.as_of
    if view.status in OVER:
        return RunEnd(view.run_id, view.last_event, newest)
    if view.status != "paused":
        return RunEnd(view.run_id, None, newest)
    return RunEnd(view.run_id, newest if position.seq < newest else None, 0)
