"""A run that is over, as the journal keeps it."""

from __future__ import annotations

from typing import Any

from schemas import FinishedRun, RunFailed, StoredRun, ThreadEvent, ThreadHead, TokenUsage


def last_run(end: ThreadEvent) -> FinishedRun:
    """What a thread's head keeps of the run that this event ends."""
    told = {name: getattr(end, name) for name in ("code", "message", "error")} if isinstance(end, RunFailed) else {}
    outcome: Any = end.TYPE.rpartition(".")[2]  # terminal types end with their outcome
    return FinishedRun(run_id=end.run_id, outcome=outcome, **told)


def ended_run(head: ThreadHead, end: ThreadEvent) -> StoredRun:
    """The run that this event ends: the one that goes in `head`, one that waits there, or one that was never let in."""
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
        outcome=end.TYPE.rpartition(".")[2],  # terminal types end with their outcome
        code=getattr(end, "code", "") or getattr(end, "reason", ""),
        message=getattr(end, "message", "") or getattr(end, "notice", "") or "",
        error=getattr(end, "error", ""),
        ended_at=end.at,
        last_event=end.seq,
        **known,
    )
