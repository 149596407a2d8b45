"""What timers do when they are due. `TYPE` is the kind of the timer (`state.Timer`), and these are its body."""

from __future__ import annotations

from typing import ClassVar

from schemas.audit_events import AuditEvent
from schemas.base import Body, Timestamp
from schemas.chat import UserMessage
from schemas.graphs import GraphInput
from schemas.ids import Id


class DelayedRun(Body):
    """A run that begins later: `input` becomes a record with the run's id."""

    TYPE: ClassVar[str] = "cauce.timer.run"
    thread_id: Id
    run_id: Id
    input: UserMessage | GraphInput


class RunsThread(Body):
    """A thread that is there for one run alone: it goes once the run is over, or waits for somebody."""

    TYPE: ClassVar[str] = "cauce.timer.runs_thread"
    thread_id: Id
    run_id: Id
    begins_at: Timestamp | None = None
    """The run's time; absent from timers of an older version."""


class ThreadExpiry(Body):
    """A thread's time is up, if `ThreadHead.ttl` says the same."""

    TYPE: ClassVar[str] = "cauce.timer.thread"
    thread_id: Id
    expires_at: Timestamp


class AuditWritten(Body):
    """An audit event that was written where no Kafka could be reached, such as at the command line: a gateway sends it on."""

    TYPE: ClassVar[str] = "cauce.timer.audit"
    event: AuditEvent
    record_id: Id
    source: str


class HeldInput(Body):
    """An input that came while its tenant was paused: it becomes a record again, with the same id, when the tenant is not."""

    TYPE: ClassVar[str] = "cauce.timer.held"
    thread_id: Id
    record_id: Id
    kind: str
    """`ce_type` of its body."""
    value: str
    """The body's JSON."""


class EndRuns(Body):
    """What runs and waits in the threads of a user ends: the user was blocked, or the tenant was closed."""

    TYPE: ClassVar[str] = "cauce.timer.end_runs"
    user_id: Id | None = None
    """None for all users of the tenant."""
    again: bool = False
    """Whether this is the second look, after the workers' caches: what they still started in between ends, too."""


class Erasure(Body):
    """What is kept of a user, or of a tenant with all its users, is erased."""

    TYPE: ClassVar[str] = "cauce.timer.erasure"
    user_id: Id | None = None
    """None for the tenant with all its users."""
    began_at: Timestamp
    done_at: Timestamp | None = None
    """When nothing was left but the traces that repeated records are known by; they go when there can be none."""
