"""What the journal keeps of a thread beside its messages: one small head, rewritten by every turn.

The head does not grow with the conversation; it holds counters, the active run, the calls it waits for and the
queued inputs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from schemas.base import Body, Stored, Timestamp
from schemas.branches import Fork, Span, branch, newest
from schemas.expiry import ThreadTtl
from schemas.graphs import GraphInterrupt, GraphRequest
from schemas.ids import Id
from schemas.inputs import Input, RunKind
from schemas.messages import Message, TokenUsage, ToolCall
from schemas.questions import Question

QUEUED_BYTES = 4 << 20
"""Total for the queued inputs of one thread, which are in its head and rewritten by every turn. Cassandra rejects a
write of more than 16 MiB by default."""

ThreadStatus = Literal["idle", "tools", "approval"]
ThreadCondition = Literal["idle", "busy", "approval", "failed"]
"""A thread's condition: nothing to do, working, waiting for its user, or idle after a failed run."""


class PendingCall(Stored):
    """A tool call of the current turn. `running`: requested and not answered; `approval`: waits for the user; `done`: its
    tool message is in the thread."""

    call: ToolCall
    state: Literal["running", "approval", "done"]
    edited: bool = False
    """The user changed the arguments; the result tells the model so."""
    concerns: dict[str, str] = Field(default_factory=dict)
    """As in `ApprovalRequested`."""


class ActiveRun(Input):
    """The active run."""

    started_at: Timestamp
    resumed_at: Timestamp
    """When it last began to work: the seconds that a person takes to decide do not count against its limit."""
    spent_seconds: float = 0
    """Seconds of work before `resumed_at`."""
    turns: int = 0
    usage: TokenUsage = TokenUsage()
    estimated_tokens: int = 0
    """Estimate for the model calls that their provider did not count: they count against the limit."""
    spoilt: int = 0
    """Answers in a row of which nothing could be used: empty ones, and calls that were cut off."""
    first_message: int = Field(ge=1)
    """Sequence number of the run's first message; a rollback removes from here on."""
    first_event: int = 0
    """Sequence number of its `RunStarted`; 0 in runs that an older version started."""
    paused: bool = False
    """A graph's run waits for its user."""
    interrupts: tuple[GraphInterrupt, ...] = ()
    """What it waits for."""
    forks_before: tuple[Fork, ...] | None = None
    """The thread's forks before a run that went back in it; a rollback goes back to them."""
    state_before: str | None = None
    """The checkpoint that the thread stood at before a graph's run, empty for none; a rollback goes back to it."""

    @model_validator(mode="before")
    @classmethod
    def _began_as_it_came(cls, fields: Any) -> Any:
        """Runs that an older version started do not say when their input came."""
        if isinstance(fields, dict) and "at" not in fields and "started_at" in fields:
            return {**fields, "at": fields["started_at"]}
        return fields

    @classmethod
    def of(cls, started: Input, at: datetime, *, first_message: int, first_event: int = 0) -> ActiveRun:
        """The run that an input starts at this time."""
        fields = {name: getattr(started, name) for name in Input.model_fields} | (started.model_extra or {})
        counters = {"first_message": first_message, "first_event": first_event}
        return cls(**fields, **counters, started_at=at, resumed_at=at)

    @property
    def counted(self) -> TokenUsage | None:
        """Tokens as providers counted them; None where models were asked and nobody counted, which is not the same as none."""
        return None if self.estimated_tokens and not self.usage.total else self.usage


class FinishedRun(Stored):
    """How the last run ended."""

    run_id: Id
    outcome: Literal["completed", "failed", "cancelled"]
    code: str = ""
    message: str = ""
    error: str = ""
    """For a failed run, as in `RunFailed`: the exception's class, where a graph failed."""


class ProcessedInput(Stored):
    """An input that a turn of the thread has processed, and the position of its record (`RawRecord.position`)."""

    input_id: Id
    source: str


class ThreadHead(Stored):
    """State of a thread. `next_message` and `next_event` are the sequence numbers that the next ones get."""

    user_id: Id
    """The owner; nobody else writes to the thread."""
    created_at: Timestamp
    updated_at: Timestamp
    title: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict)
    agent_id: str = ""
    """The agent of the thread's first run."""
    graph: str = ""
    """The hosted graph that the thread's rows are the state of; empty where only agents ran."""
    asks: tuple[GraphInterrupt, ...] = ()
    """What the state of its graph still waits for although the run that asked has failed. An answer starts a run."""
    configured: GraphRequest | None = None
    """What the newest run of a graph was configured with: the thread's states are looked at with the same. None before the first
    one, and where that is too large."""
    ttl: ThreadTtl | None = None
    """When its time is up; None for never."""
    deleted: bool = False
    """Only this head is left, so that no late writer recreates the thread."""
    next_message: int = Field(default=1, ge=1)
    forks: tuple[Fork, ...] = ()
    """Where the conversation went back to an earlier message and on from there (`schemas.branches`)."""
    next_event: int = Field(default=1, ge=1)
    next_row: int = Field(default=1, ge=1)
    """Number of the next row of a graph's state (`StateRow`)."""
    progress: str = ""
    """Id of an input whose graph has committed supersteps but not ended (durability `sync`): when its record is redelivered,
    the graph continues from its newest checkpoint."""
    progress_from: str = ""
    """The checkpoint that the thread stood at before that input, empty for none."""
    run: ActiveRun | None = None
    pending: tuple[PendingCall, ...] = ()
    queued: tuple[Input, ...] = ()
    last: FinishedRun | None = None
    unpublished: tuple[ProcessedInput, ...] = ()
    """Processed inputs, oldest first, whose outputs were not yet known to be published: a new owner of the
    thread publishes those before anything else of the thread."""

    @property
    def status(self) -> ThreadStatus:
        """What the thread waits for; `idle` when for nothing."""
        states = {p.state for p in self.pending}
        if "running" in states:
            return "tools"
        return "approval" if "approval" in states else "idle"

    @property
    def newest_message(self) -> int:
        """The number of the message that the next one follows; 0 for none."""
        return newest(self.forks, self.next_message)

    @property
    def branch(self) -> tuple[Span, ...]:
        """The numbers of the messages of the present conversation."""
        return branch(self.forks, self.newest_message)

    @property
    def queued_bytes(self) -> int:
        """Bytes of the queued inputs, as the head stores them."""
        return sum(len(waiting.to_bytes()) for waiting in self.queued)

    @property
    def open_interrupts(self) -> tuple[GraphInterrupt, ...]:
        """What its graph waits for: the run that is paused, or what one that failed has left unanswered."""
        if self.run:
            return self.run.interrupts if self.run.paused else ()
        return self.asks

    @property
    def questions(self) -> tuple[Question, ...]:
        """The open questions, in the order in which they were asked: approvals of tool calls, interrupts of a graph. Made of what
        the head stores of calls and of the graph, so that workers of two versions agree on it."""
        user_id = self.user_id
        asked = [p for p in self.pending if p.state == "approval"]
        return (
            *(
                Question.about(p.call.call_id, p.call.name, p.call.arguments, answered_by=user_id, concerns=p.concerns)
                for p in asked
            ),
            *(interrupt.as_question(user_id) for interrupt in self.open_interrupts),
        )

    @property
    def approvals(self) -> tuple[Question, ...]:
        """The open questions about tool calls."""
        return tuple(question for question in self.questions if question.kind == "approval")

    @property
    def interrupts(self) -> tuple[Question, ...]:
        """The open questions of a graph."""
        return tuple(question for question in self.questions if question.kind == "interrupt")

    @property
    def paused(self) -> bool:
        """Whether the active run waits for its user, and for nothing else."""
        return self.status == "approval" or (self.run is not None and self.run.paused)

    @property
    def condition(self) -> ThreadCondition:
        """The thread as a list shows it."""
        if self.paused:
            return "approval"
        if self.run or self.queued:
            return "busy"
        return "failed" if self.last and self.last.outcome == "failed" else "idle"


class StoredMessage(Body):
    """A message with its position in the thread, 1, 2, 3, ... (gaps where a rollback removed some).

    Written once and never changed. `ThreadHead.branch` says which of them are the conversation as it stands.
    """

    seq: int = Field(ge=1)
    message: Message


class StateRow(Body):
    """A row of a graph's state, written once and never changed. Opaque to the store; see `connectors.graphs`.

    Rows of both kinds are numbered together, 1, 2, 3, ... in a thread.
    """

    seq: int = Field(ge=1)
    kind: Literal["checkpoint", "value"]
    """`checkpoint` rows are listed newest first, `value` rows are read by number."""
    body: bytes


class StoredEvent(Body):
    """An event of `chat.responses` as the journal keeps it for replay: `body` is the JSON text that was published."""

    seq: int = Field(ge=1)
    type: str
    body: str


class ThreadSummary(Body):
    """One line of a user's list of threads."""

    thread_id: Id
    user_id: Id
    title: str
    created_at: Timestamp
    updated_at: Timestamp
    condition: ThreadCondition = "idle"
    """As of the last change of a list row: a thread that began to work since may still be `idle` here."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    agent_id: str = ""


class StoredRun(Stored):
    """A run that is over, as the journal keeps it."""

    run_id: Id
    input_id: Id
    agent_id: str = ""
    kind: RunKind | None = None
    """None in rows of older versions, and of runs that were never let in."""
    graph: str = ""
    """The hosted graph that ran, if the kind is `graph`."""
    outcome: Literal["completed", "failed", "cancelled"]
    code: str = ""
    """The code of `failed`, the reason of `cancelled`."""
    message: str = ""
    """A text for the user; of `completed` the notice, where there is one."""
    error: str = ""
    """The exception's class, where a graph failed."""
    accepted_at: Timestamp
    ended_at: Timestamp
    first_event: int = Field(ge=1)
    last_event: int = Field(ge=1)
    usage: TokenUsage | None = None
    """None where no provider counted."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    hidden: bool = False
    """The user removed it from the lists of runs. What it did is the thread's history and stays."""


class OpenInput(Body):
    """An input whose turn is not in the journal yet, and what readers of the thread are to know of it already.

    The gateway keeps one for each answer that it accepts, a worker one for each turn that takes a while. It counts until the
    journal has the input.
    """

    input_id: Id
    run_id: Id
    user_id: Id
    agent_id: Id = "default"
    at: Timestamp
    begun: bool = False
    """A worker is at it."""
    resumes: bool = False
    """The input resumes the waiting graph run of this id."""
    decides: tuple[Id, ...] = ()
    """Calls that wait for approval and that it decides on."""
    graph: str = ""
    """The hosted graph that runs; empty for an agent."""


class AcceptedRun(Body):
    """A run as the gateway promised it: kept from before its record is produced until it certainly was read."""

    run_id: Id
    user_id: Id
    agent_id: Id
    kind: RunKind | None = None
    """None in rows of older versions, which do not say."""
    graph: str = ""
    """The hosted graph, if the kind is `graph`."""
    at: Timestamp
    begins_at: Timestamp | None = None
    """When the run's record is produced; None for immediately."""
    multitask_strategy: str = "enqueue"
    metadata: dict[str, Any] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)
    """What its protocol wants to show again, such as the `kwargs` of the LangGraph Server API."""

    @model_validator(mode="before")
    @classmethod
    def _kind_of_older_ones(cls, fields: Any) -> Any:
        """Older versions had the name of the graph among the details."""
        if isinstance(fields, dict) and "kind" not in fields and (graph := (fields.get("details") or {}).get("graph")):
            return {**fields, "kind": "graph", "graph": graph}
        return fields
