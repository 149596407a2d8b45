"""Bodies of `chat.messages` and `external.events`: everything that can start or steer a run."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from schemas.base import Body, Timestamp
from schemas.expiry import ThreadTtl
from schemas.ids import Id
from schemas.messages import MAX_TEXT
from schemas.topics import Topic

MultitaskStrategy = Literal["enqueue", "reject", "interrupt", "rollback"]
"""What happens to a message that arrives while a run is active: queued, rejected, or it preempts the run (keeping or
dropping what the run wrote). The four values of the LangGraph Server API."""

MAX_METADATA = 16_000
"""Characters of a thread's metadata as JSON: every turn writes them again with the head."""

Text = Annotated[str, Field(max_length=MAX_TEXT)]


class UserMessage(Body):
    """A person writes to their agent. The record's `ce_id` is the message id and the idempotency key."""

    TYPE: ClassVar[str] = "cauce.chat.message"
    TOPICS = (Topic.CHAT_MESSAGES,)
    user_id: Id
    text: Annotated[str, Field(max_length=MAX_TEXT)]
    """Empty only with `after`: the agent answers again from there."""
    after: int | None = Field(default=None, ge=0)
    """The number of the message that this one follows, 0 for the beginning: what the thread has after it leaves the
    conversation. The newest one when absent."""
    run_id: Id | None = None
    """Id of the run that this starts; the record's id when absent."""
    message_id: Id | None = None
    """Id that the message gets in the thread, as the client shows it already; the record's id when absent."""
    agent_id: Id = "default"
    multitask_strategy: MultitaskStrategy = "enqueue"
    metadata: dict[str, Any] = Field(default_factory=dict)
    time_zone: Annotated[str, Field(max_length=100)] | None = None
    """IANA name of the zone that the person is in now; the user's own setting when absent or not known."""

    @model_validator(mode="after")
    def _says_something(self) -> UserMessage:
        if not self.text and self.after is None:
            raise ValueError("a message needs a text")
        return self


class ApprovalDecision(Body):
    """A person decides on one tool call that waits for approval."""

    TYPE: ClassVar[str] = "cauce.chat.approval"
    TOPICS = (Topic.CHAT_MESSAGES,)
    user_id: Id
    call_id: Id
    decision: Literal["approve", "edit", "reject", "respond"]
    arguments: dict[str, Any] | None = None
    """For `edit`: the arguments to call the tool with instead."""
    message: Text | None = None
    """For `reject`: the reason, which the model is given. For `respond`: the text that stands for the tool's result."""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> ApprovalDecision:
        if self.decision == "edit" and self.arguments is None:
            raise ValueError("an edit needs the new arguments")
        if self.decision == "respond" and not self.message:
            raise ValueError("a response needs a message")
        return self


class CancelRun(Body):
    """A user cancels a run: the one named, or the active one."""

    TYPE: ClassVar[str] = "cauce.chat.cancel"
    TOPICS = (Topic.CHAT_MESSAGES,)
    user_id: Id
    run_id: Id | None = None
    rollback: bool = False
    """What the run has written goes, too, as far as nothing was done outside."""
    delayed: bool = False
    """The run was to begin later. In a record with the run's own id this keeps it from beginning, since an input is taken once;
    in one with another id it ends a run that has begun, and is not refused where there is none."""
    rejected: bool = False
    """The run does not start because another run of its thread is active (strategy `reject`)."""


class ChangeThread(Body):
    """A person makes, renames, labels, copies or deletes a thread. Answered by `ThreadChanged` or `InputRefused`."""

    TYPE: ClassVar[str] = "cauce.chat.thread"
    TOPICS = (Topic.CHAT_MESSAGES,)
    user_id: Id
    action: Literal["create", "update", "delete", "copy"]
    source_thread: Id | None = None
    """For `copy`: the thread that is copied. The record is keyed by the new one."""
    title: Annotated[str, Field(max_length=200)] | None = None
    metadata: dict[str, Any] | None = None
    """Merged into what is there; a key whose value is null goes."""
    ttl: ThreadTtl | None = None
    """When the thread expires; unchanged when absent."""
    expired: Timestamp | None = None
    """For `delete` of an expired thread: when it expires. Nothing happens if the thread has another expiry by now, or
    a run is active in it."""
    hide_run: Id | None = None
    """For `update`: a finished run that is to be removed from the lists of runs."""

    @model_validator(mode="after")
    def _has_a_source(self) -> ChangeThread:
        if (self.action == "copy") != (self.source_thread is not None):
            raise ValueError("a copy, and nothing else, names the thread that it is made of")
        return self

    @model_validator(mode="after")
    def _is_small(self) -> ChangeThread:
        if self.metadata and len(json.dumps(self.metadata)) > MAX_METADATA:
            raise ValueError(f"the metadata of a thread may have {MAX_METADATA} characters as JSON")
        return self


class GivenMessage(Body):
    """A message as a change of the conversation gives it: it replaces the one with its id, or comes last."""

    message_id: Id
    role: Literal["user", "assistant", "tool"]
    text: Text = ""
    remove: bool = False
    """The message of this id goes."""


class ChangeMessages(Body):
    """A person changes what an agent's conversation says, as LangGraph's `add_messages` would. Answered by `StateUpdated` or
    `InputRefused`."""

    TYPE: ClassVar[str] = "cauce.chat.change_messages"
    TOPICS = (Topic.CHAT_MESSAGES,)
    user_id: Id
    after: int | None = Field(default=None, ge=0)
    """The number of the message that the conversation first goes back to; its present end when absent."""
    clear: bool = False
    """All messages go before the given ones come."""
    messages: tuple[GivenMessage, ...] = ()


class ContinueThread(Body):
    """The turns processor's note to itself: the run before is over, start the next queued one."""

    TYPE: ClassVar[str] = "cauce.chat.continue"
    TOPICS = (Topic.CHAT_MESSAGES,)
    run_id: Id


class ExternalEvent(Body):
    """Something happened in a connected account, or a timer fired; it starts a run in its thread."""

    TYPE: ClassVar[str] = "cauce.external.event"
    TOPICS = (Topic.EXTERNAL_EVENTS,)
    user_id: Id
    kind: str = Field(min_length=1, max_length=128)
    """What happened, such as `gmail.message_added`."""
    summary: Text
    """What the model is given, in one or a few sentences."""
    occurred_at: Timestamp
    agent_id: Id = "default"
    data: dict[str, Any] = Field(default_factory=dict)
