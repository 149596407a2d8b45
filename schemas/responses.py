"""Bodies of `chat.responses` and `chat.deltas`: what a client sees of a thread.

Every event has `seq`, the thread's own counter without gaps: readers drop repeats by it and replay from the store.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from schemas.base import Body, Timestamp
from schemas.expiry import ThreadTtl
from schemas.graphs import GraphInterrupt, GraphRequest
from schemas.ids import Id, derived_id
from schemas.inputs import Input
from schemas.messages import Message, TokenUsage
from schemas.topics import Topic


class ThreadEvent(Body):
    """What all events have in common."""

    TYPE: ClassVar[str]
    TOPICS: ClassVar[tuple[Topic, ...]] = (Topic.CHAT_RESPONSES,)
    INTERNAL: ClassVar[frozenset[str]] = frozenset()
    """Fields from which the thread's head is rebuilt; protocols leave them out."""
    OF_RUN: ClassVar[bool] = True
    """Whether it is part of a run that has begun, so that a thread's stream shows it among what the run streams."""
    ANSWERS: ClassVar[bool] = False
    """Whether whoever sent its `input_id` waits for it."""
    seq: int = Field(ge=1)
    """Position in the thread's event log, 1, 2, 3, ..."""
    run_id: Id
    user_id: Id
    at: Timestamp

    @property
    def adds(self) -> Message | None:
        """The message that the event adds to the thread."""
        return None


class RunQueued(ThreadEvent):
    """The input was accepted and waits until the run before it is over."""

    TYPE: ClassVar[str] = "cauce.run.queued"
    OF_RUN = False
    INTERNAL = frozenset({"input"})
    position: int = Field(ge=1)
    input: Input | None = None
    """What waits; None in events of older versions."""


class RunStarted(ThreadEvent):
    """A run began to work on an input."""

    TYPE: ClassVar[str] = "cauce.run.started"
    INTERNAL = frozenset({"input"})
    input_id: Id
    agent_id: Id
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Metadata of the message that started the run."""
    time_zone: str | None = None
    """Time zone of the message that started the run."""
    input: Input | None = None
    """What it works on, without what the thread's messages or its graph's state have of it: the text is the thread's title where
    that has none yet. None in events of older versions."""


class RunPaused(ThreadEvent):
    """The run waits for its user and holds no resources."""

    TYPE: ClassVar[str] = "cauce.run.paused"
    INTERNAL = frozenset({"state_before"})
    reason: Literal["approval", "interrupt"]
    call_ids: tuple[Id, ...] = ()
    interrupts: tuple[GraphInterrupt, ...] = ()
    """For `interrupt`: what a graph asks. Empty where it stops before or after a node, as its caller requested."""
    state_before: str | None = None
    """For `interrupt`: the thread's checkpoint before the run, empty for none."""


class RunResumed(ThreadEvent):
    """A paused run of a graph resumes: its user has answered."""

    TYPE: ClassVar[str] = "cauce.run.resumed"
    INTERNAL = frozenset({"graph"})
    input_id: Id
    """The answer."""
    graph: GraphRequest
    """How it resumes, without the answer."""


class RunCompleted(ThreadEvent):
    """The run ended with an answer. Terminal."""

    TYPE: ClassVar[str] = "cauce.run.completed"
    message_id: Id | None = None
    """The answer; None where a graph ended without one."""
    turns: int
    usage: TokenUsage | None = None
    """None where no provider counted."""
    notice: str | None = None
    """What the user should know about the answer, such as that it is incomplete."""


class RunFailed(ThreadEvent):
    """The run ended without an answer. Terminal. `message` is fit to show to the user."""

    TYPE: ClassVar[str] = "cauce.run.failed"
    INTERNAL = frozenset({"asks"})
    code: Literal[
        "model_error",
        "model_timeout",
        "limit_turns",
        "limit_tokens",
        "limit_seconds",
        "queue_full",
        "thread_deleted",
        "graph_error",
        "graph_missing",
        "internal_error",
    ]
    message: str
    error: str = ""
    """For `graph_error`: the exception's class, which the message begins with."""
    asks: tuple[GraphInterrupt, ...] = ()
    """What its graph still waits for: an answer starts a run."""


class RunCancelled(ThreadEvent):
    """The run was ended by the user or by a newer message. Terminal."""

    TYPE: ClassVar[str] = "cauce.run.cancelled"
    reason: Literal["cancelled", "interrupted", "rolled_back", "rejected", "abandoned"]
    message: str


class MessageAdded(ThreadEvent):
    """A message joined the thread: whole text, also where deltas of it were sent before."""

    TYPE: ClassVar[str] = "cauce.message.added"
    INTERNAL = frozenset({"estimated_tokens", "spoilt"})
    message: Message
    estimated_tokens: int = 0
    """Estimate for the model call, where its provider did not count."""
    spoilt: int = 0
    """Answers of the run in a row, up to this one, of which nothing could be used."""

    @property
    def adds(self) -> Message:
        """The message itself."""
        return self.message


class AnswerDiscarded(ThreadEvent):
    """A model's answer was empty. It counts for the run, but no message is written: no provider accepts such a history."""

    TYPE: ClassVar[str] = "cauce.answer.discarded"
    INTERNAL = frozenset({"estimated_tokens"})
    usage: TokenUsage | None = None
    estimated_tokens: int = 0


class MessagesRemoved(ThreadEvent):
    """Messages left the conversation: what a run had written (strategy `rollback`), or what came after the message that the
    conversation went back to."""

    TYPE: ClassVar[str] = "cauce.messages.removed"
    message_ids: tuple[Id, ...]
    """Ids of removed messages, of the newest 1,000."""
    kept: bool = False
    """They stay in the store as another branch, that the conversation may go back to."""
    after: int | None = None
    """The number of the message that the conversation stands at now, where that is on another branch than before: messages
    that had left it before may be part of it again. 0 is its beginning."""


class ToolRequested(ThreadEvent):
    """A tool is being called."""

    TYPE: ClassVar[str] = "cauce.tool.requested"
    call_id: Id
    name: str
    arguments: dict[str, Any]


class ToolFinished(ThreadEvent):
    """A tool call came to an end."""

    TYPE: ClassVar[str] = "cauce.tool.finished"
    TOPICS = (Topic.CHAT_RESPONSES, Topic.CHAT_DELTAS)
    call_id: Id
    name: str
    status: Literal["ok", "error", "refused", "unknown", "cancelled"]
    content: str
    duration_ms: float = 0
    origin: Literal["user"] | None = None
    """`user` where the content is the user's decision about the call, and no tool's result."""

    @property
    def adds(self) -> Message:
        """What the model reads of the call. It has no event of its own."""
        return Message(
            message_id=derived_id("msg", self.call_id),
            role="tool",
            text=self.content,
            run_id=self.run_id,
            at=self.at,
            call_id=self.call_id,
            tool_name=self.name,
            failed=self.status != "ok",
            origin=self.origin,
        )


class ApprovalRequested(ThreadEvent):
    """A tool call with side effects waits for the user's decision, for as long as it takes."""

    TYPE: ClassVar[str] = "cauce.approval.requested"
    call_id: Id
    name: str
    arguments: dict[str, Any]
    description: str = ""
    concerns: dict[str, str] = Field(default_factory=dict)
    """By the name of an argument that is an id: what it stands for, in quoted words of earlier results of tools."""
    allowed_decisions: tuple[Literal["approve", "edit", "reject", "respond"], ...] = (
        "approve",
        "edit",
        "reject",
        "respond",
    )


class ApprovalResolved(ThreadEvent):
    """The approval is settled."""

    TYPE: ClassVar[str] = "cauce.approval.resolved"
    ANSWERS = True
    call_id: Id
    decision: Literal["approve", "edit", "reject", "respond", "abandoned", "cancelled"]
    by: Id
    input_id: Id | None = None
    """The decision that settled it, where it was one."""


class InputRefused(ThreadEvent):
    """An input could not be taken: a decision on a call that does not wait, a cancel of a run that is over. Ends no
    other run."""

    TYPE: ClassVar[str] = "cauce.input.refused"
    OF_RUN = False
    ANSWERS = True
    INTERNAL = frozenset({"no_thread"})
    input_id: Id
    reason: str
    no_thread: bool = False
    """The input was to create the thread, which does not exist now."""


class ThreadChanged(ThreadEvent):
    """The thread was made, renamed, labelled, copied from another or deleted. Its `run_id` is the id of the input that
    asked for it."""

    TYPE: ClassVar[str] = "cauce.thread.changed"
    OF_RUN = False
    ANSWERS = True
    INTERNAL = frozenset({"next_message", "agent_id", "graph"})
    action: Literal["create", "update", "delete", "copy"]
    input_id: Id
    title: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict)
    ttl: ThreadTtl | None = None
    agent_id: str = ""
    graph: str = ""
    next_message: int = 1
    """For `copy`, with the two before: what the copy takes from its source besides messages and state."""


class GraphStreamed(ThreadEvent):
    """A part of what a graph streamed, in LangGraph's format: `data` is a chunk of the stream mode `mode`.

    `values` are not written again and again: their `data` is None, and `checkpoint_id` names the state.
    """

    TYPE: ClassVar[str] = "cauce.graph.streamed"
    leg: Id
    """As in `GraphDelta`: who has read pieces of this leg up to `index` knows the part."""
    index: int = Field(ge=0)
    mode: str
    namespace: tuple[str, ...] = ()
    data: Any = None
    checkpoint_id: str | None = None
    chunks: int = Field(default=0, ge=0)
    """For a message that a model wrote: the number of its chunks."""


class StateUpdated(ThreadEvent):
    """The thread's state was changed by hand. Its `run_id` is the id of the input that asked for it."""

    TYPE: ClassVar[str] = "cauce.state.updated"
    OF_RUN = False
    ANSWERS = True
    INTERNAL = frozenset({"agent_id", "graph", "interrupts"})
    input_id: Id
    checkpoint_id: str
    """For an agent's thread: the number of its newest message."""
    agent_id: str = ""
    graph: str = ""
    """The graph whose state it is, empty for an agent's thread, and the assistant that it was changed through."""
    interrupts: tuple[GraphInterrupt, ...] = ()
    """What the graph waits for now, where it waits."""


class Delta(Body):
    """A piece of an answer as the model writes it; best effort. The final `MessageAdded` has the same message id."""

    TYPE: ClassVar[str] = "cauce.chat.delta"
    TOPICS = (Topic.CHAT_DELTAS,)
    run_id: Id
    message_id: Id
    turn: int = Field(ge=1)
    attempt: int = Field(ge=1)
    index: int = Field(ge=0)
    text: str


TERMINAL_TYPES = frozenset({RunCompleted.TYPE, RunFailed.TYPE, RunCancelled.TYPE})
"""Types of the events that end a run; every accepted input has exactly one."""
