"""Errors as RFC 9457 problems: `type, title, status, detail, code, request_id`. `detail` is a string, always.

The LangGraph clients show `detail`; `code` is for programs and does not change.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from core.refusals import (
    AGAIN_SECONDS,
    Broken,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    Limited,
    Missing,
    NotNow,
    Refused,
    Unreadable,
    invalid,
)
from schemas import (
    BadRecord,
    NotFound,
    OutcomeUnknown,
    ServerTrouble,
    TooLarge,
    Unavailable,
    UnreadableRow,
    storable_text,
)
from state import BadItem

log = logging.getLogger("cauce.gateway")

_CODES = {400: "not_json", 413: "body_too_large"}
"""Codes by status, for errors that FastAPI and Starlette raise themselves."""
STATUS: dict[type[Refused], int] = {
    Unreadable: 400,
    Expired: 401,
    Forbidden: 403,
    Missing: 404,
    Conflict: 409,
    Invalid: 422,
    Limited: 429,
    Broken: 500,
    NotNow: 503,
}
"""What each refusal of a use case is in HTTP."""

_WRITTEN = "_cauce_written"


class Problem(Refused):
    """An answer other than the one that was asked for, with its status: of what only HTTP knows, or of a use case's refusal."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        """`more` are members of their own, such as `errors`."""
        super().__init__(code, detail, **more)
        self.status, self.headers = status, dict(headers or {})


def response(problem: Problem, request_id: str = "") -> Response:
    """The problem as a response."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
        **problem.more,
    }
    text = storable_text(json.dumps(body, ensure_ascii=False, default=repr))
    return Response(text, problem.status, problem.headers, media_type="application/problem+json")


def as_problem(error: Exception) -> Problem:
    """What a caller gets to know about an error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refused):
        headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return Problem(_status_of(error), error.code, error.detail, headers=headers, **error.more)
    if isinstance(error, OutcomeUnknown):
        detail = "It is not known whether this was accepted. Send it again with the same Idempotency-Key: it is executed once."
        return Problem(503, "outcome_unknown", detail, headers={"Retry-After": str(AGAIN_SECONDS)})
    if isinstance(error, Unavailable):
        detail = "A server that this needs does not answer. Nothing was done; try again."
        return Problem(503, "unavailable", detail, headers={"Retry-After": str(AGAIN_SECONDS)})
    if isinstance(error, UnreadableRow):
        # The request is fine, and waiting would not help: what is stored cannot be read.
        log.warning("a request needs what cannot be read: %s", error)
        return Problem(409, "unreadable", f"{str(error)[:1].upper()}{str(error)[1:]}")
    if isinstance(error, NotFound):
        return Problem(404, "not_found", str(error))
    if isinstance(error, TooLarge):
        return Problem(413, "body_too_large", f"Nothing was done: {error}.")
    if isinstance(error, BadRecord | BadItem):
        return Problem(422, "invalid", str(error))
    if isinstance(error, RequestValidationError):
        return as_problem(invalid(error.errors()))
    if isinstance(error, HTTPException):
        detail = error.detail or HTTPStatus(error.status_code).phrase
        code = _CODES.get(error.status_code) or HTTPStatus(error.status_code).name.lower()
        return Problem(error.status_code, code, detail, headers=error.headers)
    write_down(error, "a request failed")
    return Problem(
        500,
        "internal_error",
        "The gateway failed to process this request. Quote the request id to its operator: the log has the cause.",
    )


def write_down(error: Exception, message: str) -> None:
    """Logs an error that nobody foresaw, once, however many see it on its way out."""
    if not getattr(error, _WRITTEN, False):
        log.error(message, exc_info=error)
        with contextlib.suppress(AttributeError):  # a class with slots
            setattr(error, _WRITTEN, True)


def _status_of(refused: Refused) -> int:
    return next(STATUS[kind] for kind in type(refused).__mro__ if kind in STATUS)


async def handle(request: Request, error: Exception) -> Response:
    """Exception handler of our applications."""
    return response(as_problem(error), request.scope.get("cauce.request_id", ""))


HANDLERS = {
    Refused: handle,
    HTTPException: handle,
    RequestValidationError: handle,
    ServerTrouble: handle,
    NotFound: handle,
    BadRecord: handle,
    BadItem: handle,
    Exception: handle,
}
