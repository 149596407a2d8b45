"""Bodies of `tool.requests` and `tool.results`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from schemas.base import Body, Timestamp
from schemas.ids import Id
from schemas.topics import Topic

ToolStatus = Literal["ok", "error", "refused", "unknown"]
"""`ok`: done. `error`: not done, and the model may try otherwise. `refused`: not allowed. `unknown`: it may or may not
have happened; it is never repeated blindly."""


class ToolRequest(Body):
    """Call this tool once. `call_id` is the idempotency key of the ledger; `ce_id` equals it."""

    TYPE: ClassVar[str] = "cauce.tool.request"
    TOPICS = (Topic.TOOL_REQUESTS,)
    call_id: Id
    run_id: Id
    user_id: Id
    name: str = Field(min_length=1, max_length=128)
    arguments: dict[str, Any] = Field(default_factory=dict)
    approved_by: Id | None = None
    """The user who approved this call; absent where the policy needed no approval."""


class ToolResult(Body):
    """The result of a tool call. `content` is what the model reads: text, or JSON as text."""

    TYPE: ClassVar[str] = "cauce.tool.result"
    TOPICS = (Topic.TOOL_RESULTS,)
    call_id: Id
    run_id: Id
    name: str
    status: ToolStatus
    content: str
    finished_at: Timestamp
    duration_ms: float = Field(default=0, ge=0)
