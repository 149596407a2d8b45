"""What the routes have in common: parameters, who calls, and the errors and streams they document."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request

from connectors.gateway.auth.middleware import principal_of
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.protocols.v1 import models as m
from core.principal import Principal
from core.refusals import unfit
from schemas import ThreadSummary
from schemas.ids import ID_PATTERN

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": m.ProblemBody, "content": {"application/problem+json": {}}, "description": description}
    for status, description in {
        400: "The body is not JSON.",
        401: "The credential is missing or not valid.",
        403: "The credential does not allow this, or the tenant is paused.",
        404: "It does not exist, or it is not yours.",
        409: "The request conflicts with the present state.",
        413: "The body is too large.",
        422: "The input is not valid.",
        429: "Too many requests; see Retry-After.",
        503: "A server is unavailable; see Retry-After.",
    }.items()
}
SSE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Server-sent events."}
}

ThreadId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of a thread.")]
RunId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of a run.")]
CallId = Annotated[str, Path(pattern=ID_PATTERN, description="Id of a tool call.")]
Limit = Annotated[int, Query(ge=1, le=500)]
Since = Annotated[str | None, Query(description="Like the header Last-Event-ID.", max_length=200)]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=200)]
IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", max_length=256, description="Requests with the same key are one message."),
]
Seconds = Annotated[float, Query(ge=0, le=900, description="Maximum seconds to wait.")]

CancelOnDisconnect = Annotated[bool, Query(description="Cancel the run if the client disconnects before its end.")]


async def _core(request: Request) -> GatewayCore:  # FastAPI would send a function that is not async to a thread
    core: GatewayCore = request.app.state.core
    return core


async def _caller(request: Request) -> Principal:
    return principal_of(request)


async def _turn(request: Request) -> AsyncIterator[None]:
    core, caller = await _core(request), await _caller(request)
    async with core.large_answers.place((caller.tenant_id, caller.user_id)):
        yield


LARGE = [Depends(_turn)]
"""For routes whose answers may be large: few requests of a user are processed at a time, the others wait for their turn."""
CoreIn = Annotated[GatewayCore, Depends(_core)]
Caller = Annotated[Principal, Depends(_caller)]


def cursor_after(line: ThreadSummary) -> str:
    """The cursor of a list of threads behind one of them."""
    return base64.urlsafe_b64encode(json.dumps([line.updated_at.isoformat(), line.thread_id]).encode()).decode()


def thread_after(cursor: str | None) -> tuple[datetime, str] | None:
    """Time and id of the thread that a cursor is behind. Raises `Refused`."""
    if cursor is None:
        return None
    try:
        at, thread_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if isinstance(at, int | float):  # of an older version
            return datetime.fromtimestamp(-at, UTC), str(thread_id)
        return datetime.fromisoformat(at).astimezone(UTC), str(thread_id)
    except (ValueError, TypeError, OverflowError, RecursionError, OSError) as error:
        raise unfit("cursor", cursor, "the `next` of a page") from error
