"""The outcome of one attempt of a tool call, decided from the HTTP status, then the error's kind, then the tool's behaviour.

`can_retry` in Arcade's errors means that a new attempt may work, not that it is safe: whether a call may have been executed
is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.toolset import OutcomeKind, ToolOutcome

_FOR_THE_MODEL = frozenset(
    [
        "TOOL_RUNTIME_BAD_INPUT_VALUE",
        "TOOL_RUNTIME_RETRY",
        "TOOL_RUNTIME_CONTEXT_REQUIRED",
        "TOOL_DEFINITION_BAD_INPUT_SCHEMA",
        "TOOL_DEFINITION_BAD_DEFINITION",
        "UPSTREAM_RUNTIME_BAD_REQUEST",
        "UPSTREAM_RUNTIME_NOT_FOUND",
        "UPSTREAM_RUNTIME_VALIDATION_ERROR",
    ]
)
_BROKEN_ON_THE_WAY = (
    "NETWORK_TRANSPORT_RUNTIME_",
    "UPSTREAM_RUNTIME_SERVER_ERROR",
    "UPSTREAM_RUNTIME_UNMAPPED",
)
_QUOTA_REASONS = ("ratelimitexceeded", "quota", "dailylimitexceeded")


def of_http_error(status: int, body: object, retry_after: float | None) -> ToolOutcome:
    """The outcome of an error response of the engine itself."""
    name, message = "", ""
    if isinstance(body, Mapping):
        name = str(body.get("name") or body.get("error") or "")
        message = str(body.get("message") or body.get("msg") or "")
    if status == 401:
        return ToolOutcome("halt", message="Arcade refuses the API key", status=status, error_kind=name)
    if status == 403:
        return ToolOutcome("needs_authorization", message=message, status=status, error_kind=name)
    if status == 429:
        return ToolOutcome("retry", message="too many requests", retry_after=retry_after, status=status)
    if status in (400, 404, 422):
        return ToolOutcome("tell_model", message=message or f"HTTP {status}", status=status, error_kind=name)
    return ToolOutcome("unknown", message=message or f"HTTP {status}", status=status, error_kind=name)


def of_output(output: Mapping[str, Any], execution_id: str | None) -> ToolOutcome:
    """The outcome that the output of an executed call reports."""
    if output.get("authorization"):
        return ToolOutcome("needs_authorization", execution_id=execution_id)
    error = output.get("error")
    if not error:
        return ToolOutcome("ok", output.get("value"), execution_id=execution_id)
    if not isinstance(error, Mapping):
        error = {"message": str(error)}
    kind = str(error.get("kind") or "UNKNOWN")
    message = str(error.get("message") or kind)
    if extra := error.get("additional_prompt_content"):
        message = f"{message}\n{extra}"
    after = error.get("retry_after_ms")
    seconds = after / 1000 if isinstance(after, int | float) and after > 0 else None
    return ToolOutcome(
        _kind_of(kind, error),
        message=message[:4000],
        retry_after=seconds,
        error_kind=kind,
        status=error.get("status_code"),
        execution_id=execution_id,
    )


def _kind_of(kind: str, error: Mapping[str, Any]) -> OutcomeKind:
    if kind == "CONTEXT_DENIED":
        return "refused"
    if kind == "UPSTREAM_RUNTIME_RATE_LIMIT":
        return "retry"
    if kind == "UPSTREAM_RUNTIME_AUTH_ERROR":
        # Gmail's quota errors are HTTP 403 and have this kind; the reason is only in the developer's message.
        reported = f"{error.get('developer_message') or ''} {error.get('message') or ''}".lower()
        return "retry" if any(reason in reported for reason in _QUOTA_REASONS) else "needs_authorization"
    if kind == "TOOL_REQUIREMENTS_NOT_MET":
        return "needs_authorization"
    if kind in _FOR_THE_MODEL or kind == "TOOL_RUNTIME_FATAL":
        return "tell_model"
    if kind.startswith(_BROKEN_ON_THE_WAY):
        return "unknown"
    return "failed" if kind == "TOOLKIT_LOAD_FAILED" else "unknown"
