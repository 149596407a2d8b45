"""What goes in and out of `/v1`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core import RunView
from core.graph_assistants import Assistant
from schemas import AgentSettings, MultitaskStrategy, StoredMessage, ThreadSummary, check_zone
from schemas.messages import MAX_TEXT

RunStatusName = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]
Metadata = dict[str, Any]
IdText = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}$")]


def _example(value: Mapping[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [dict(value)]})


TimeZone = Annotated[str, AfterValidator(check_zone)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProblemBody(BaseModel):
    """RFC 9457."""

    model_config = _example(
        {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "There is no thread 'mail' of yours.",
            "code": "thread_not_found",
            "request_id": "f2b1c4",
        }
    )
    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class ThreadIn(_In):
    """A thread to create."""

    model_config = ConfigDict(extra="forbid") | _example({"title": "Mail", "metadata": {"colour": "green"}})
    thread_id: IdText | None = Field(None, description="Generated if absent.")
    title: Annotated[str, Field(max_length=200)] | None = Field(None, description="The first message if absent.")
    metadata: Metadata = Field(default_factory=dict, description="At most 16,000 characters as JSON.")


class ThreadChange(_In):
    """Changes to a thread; absent fields stay unchanged."""

    model_config = ConfigDict(extra="forbid") | _example({"title": "Mail of today"})
    title: Annotated[str, Field(max_length=200)] | None = None
    metadata: Metadata | None = Field(None, description="Merged; a key with the value null is removed.")


class ThreadOut(BaseModel):
    """A thread."""

    model_config = _example(
        {
            "thread_id": "01890a5d-ac96-774b-bcce-b302099a8057",
            "title": "Mail of today",
            "status": "idle",
            "metadata": {"colour": "green"},
            "created_at": "2026-11-23T18:00:00Z",
            "updated_at": "2026-11-23T18:01:01Z",
        }
    )
    thread_id: str
    title: str
    status: Literal["idle", "busy", "approval", "failed"] = Field(description="`approval`: it waits for your decision.")
    metadata: Metadata
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, line: ThreadSummary) -> ThreadOut:
        """From a line of a list."""
        return cls(
            thread_id=line.thread_id,
            title=line.title,
            status=line.condition,
            metadata=line.metadata,
            created_at=line.created_at,
            updated_at=line.updated_at,
        )


class ThreadPage(BaseModel):
    """Threads, most recently changed first."""

    threads: list[ThreadOut]
    next: str | None = Field(description="`cursor` of the next page.")


class MessageIn(_In):
    """A message to the agent; it starts a run."""

    model_config = ConfigDict(extra="forbid") | _example({"text": "What mail do I have?"})
    text: Annotated[str, Field(max_length=MAX_TEXT)] = Field(
        "", description="Required, except to request another answer."
    )
    replaces: IdText | None = Field(
        None,
        description="The id of a message of the thread. It and all that follow it leave the conversation, and `text` takes "
        "its place. Without a text the agent answers again; a message of yours then stays.",
    )
    agent: IdText = "default"
    multitask_strategy: MultitaskStrategy = Field(
        "enqueue", description="What happens when a run is active: queue, be rejected, or preempt it."
    )
    metadata: Metadata = Field(default_factory=dict)
    time_zone: TimeZone | None = Field(
        None, description="Your present time zone, such as Europe/Madrid; otherwise your own setting."
    )


class MessageOut(BaseModel):
    """A message of a thread."""

    seq: int = Field(description="Its number in the thread; use it as `before` for the page of older ones.")
    message_id: str
    role: Literal["user", "assistant", "tool"]
    text: str
    run_id: str
    at: datetime
    tool_calls: list[dict[str, Any]] = Field(default_factory=list)
    call_id: str | None = None
    tool_name: str | None = None
    failed: bool = False
    ending: Literal["cut", "filtered"] | None = Field(
        None, description="For an incomplete answer: why it is incomplete."
    )

    @classmethod
    def of(cls, stored: StoredMessage) -> MessageOut:
        """From the journal's row."""
        message = stored.message
        return cls(
            seq=stored.seq,
            tool_calls=[call.model_dump() for call in message.tool_calls],
            **{
                name: getattr(message, name)
                for name in ("message_id", "role", "text", "run_id", "at", "call_id", "tool_name", "failed", "ending")
            },
        )


class MessagePage(BaseModel):
    """Messages, oldest first."""

    messages: list[MessageOut]
    before: int | None = Field(description="`before` for the page of older ones; null if there are none.")


class RunOut(BaseModel):
    """A run: everything done for one message."""

    model_config = _example(
        {
            "run_id": "01890a5d-b000-7000-8000-000000000001",
            "thread_id": "01890a5d-ac96-774b-bcce-b302099a8057",
            "agent": "default",
            "status": "completed",
            "created_at": "2026-11-23T18:01:00Z",
            "updated_at": "2026-11-23T18:01:01Z",
            "metadata": {},
            "code": "",
            "message": "",
            "first_event": 2,
            "last_event": 8,
            "usage": {"input_tokens": 353, "output_tokens": 227},
        }
    )
    run_id: str
    thread_id: str
    agent: str
    status: RunStatusName
    created_at: datetime
    updated_at: datetime
    metadata: Metadata
    code: str = Field("", description="Why it failed or was cancelled.")
    message: str = Field("", description="The same as text; for a completed run, a notice about its answer.")
    first_event: int | None = None
    last_event: int | None = None
    usage: dict[str, int] | None = Field(None, description="Tokens; null where no provider counted them.")

    @classmethod
    def of(cls, view: RunView) -> RunOut:
        """From the core's view."""
        return cls(
            agent=view.agent_id,
            metadata=dict(view.metadata),
            usage=view.usage.model_dump(include={"input_tokens", "output_tokens"}) if view.usage else None,
            **{
                name: getattr(view, name)
                for name in (
                    "run_id",
                    "thread_id",
                    "status",
                    "created_at",
                    "updated_at",
                    "code",
                    "message",
                    "first_event",
                    "last_event",
                )
            },
        )


class RunList(BaseModel):
    """Runs, newest first."""

    runs: list[RunOut]
    next: str | None = Field(None, description="`cursor` of the next page; null at the end.")


class RunResult(RunOut):
    """The result of waiting for a run. `status` is still `running` if the run takes longer than the time to wait."""

    text: str = Field("", description="The agent's final text.")
    approvals: list[ApprovalOut] = Field(default_factory=list, description="For a paused run: what it waits for.")
    interrupts: list[InterruptOut] = Field(
        default_factory=list, description="For a paused run: what the graph asks; answered over the LangGraph API."
    )


class InterruptOut(BaseModel):
    """A question of a graph."""

    id: str
    value: Any


class ApprovalOut(BaseModel):
    """A tool call that waits for its user."""

    thread_id: str
    run_id: str
    call_id: str
    tool: str
    arguments: dict[str, Any]
    concerns: dict[str, str] = Field(
        default_factory=dict,
        description="By the name of an argument that is an id: what it stands for, as earlier results of tools say.",
    )
    allowed_decisions: list[str] = ["approve", "edit", "reject", "respond"]
    last_event: int = Field(description="The thread's last event when this was read; follow the run from there.")


class ApprovalList(BaseModel):
    """Open approvals."""

    approvals: list[ApprovalOut]
    next: str | None = Field(None, description="`cursor` of the next page; null at the end.")


class DecisionIn(_In):
    """A decision on a waiting call."""

    model_config = ConfigDict(extra="forbid") | _example({"decision": "approve"})
    decision: Literal["approve", "edit", "reject", "respond"]
    arguments: dict[str, Any] | None = Field(None, description="For `edit`: the new arguments.")
    message: Annotated[str, Field(max_length=MAX_TEXT)] | None = Field(
        None, description="For `reject`: the reason. For `respond`: the text that replaces the tool's result."
    )


class DecisionOut(BaseModel):
    """What was decided."""

    call_id: str
    decision: str
    by: str
    at: datetime


class AgentOut(BaseModel):
    """An agent of the tenant, or a hosted graph. Only administrators see the instructions and the configuration of an agent."""

    agent_id: str
    name: str
    description: str = ""
    model: str | None = None
    instructions: str | None = None
    tools: list[str] | None = None
    approvals: str | None = None
    limits: dict[str, float] | None = None
    kind: Literal["agent", "graph"] = "agent"

    @classmethod
    def of(cls, agent: AgentSettings | Assistant, *, configured: bool) -> AgentOut:
        """From the tenant's settings, without where its model's key is kept, or from the assistant of a hosted graph; with
        its configuration if that is asked for."""
        if isinstance(agent, Assistant):
            name = agent.graph_id if agent.name == agent.graph_id else agent.assistant_id
            return cls(agent_id=name, name=agent.name, description=agent.description or "", kind="graph")
        shown = cls(agent_id=agent.agent_id, name=agent.name)
        if not configured:
            return shown
        return shown.model_copy(
            update={
                "model": agent.model.name,
                "instructions": agent.instructions,
                "tools": list(agent.tools),
                "approvals": agent.approvals.require,
                "limits": agent.limits.model_dump(),
            }
        )


class AgentList(BaseModel):
    """Agents."""

    agents: list[AgentOut]


class MeOut(BaseModel):
    """The caller, as identified by the credential."""

    tenant_id: str
    user_id: str
    name: str
    time_zone: str | None = Field(description="Yours, or the tenant's; null where neither is set, which is UTC.")
    scopes: list[str]
    credential: str
    expires_at: datetime | None
    plan: dict[str, Any] = Field(description="Not used yet.")
    accounts: list[dict[str, Any]] = Field(description="Not used yet: connected accounts.")


class MeChange(_In):
    """Changes to the caller; absent fields stay unchanged."""

    model_config = ConfigDict(extra="forbid") | _example({"time_zone": "Europe/Madrid"})
    name: Annotated[str, Field(max_length=200)] | None = None
    time_zone: TimeZone | None = Field(None, description="IANA name of your time zone; null for the tenant's.")


RunResult.model_rebuild()
