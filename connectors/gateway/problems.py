"""Errors as RFC 9457 problems: `type, title, status, detail, code, request_id`. `detail` is a string, always.

The LangGraph clients show `detail`; `code` is for programs and does not change.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from schemas import (
    BadRecord,
    NotFound,
    OutcomeUnknown,
    ServerTrouble,
    TooLarge,
    Unavailable,
    UnreadableRow,
    check_zone,
    storable_text,
)
from state import BadItem

log = logging.getLogger("cauce.gateway")

_CODES = {400: "not_json", 413: "body_too_large"}
"""Of the errors that FastAPI and Starlette raise themselves."""
RETRY_AFTER = "2"
"""Seconds after which a server that was away is worth another try."""
_WRITTEN = "_cauce_written"

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")


class Problem(Exception):
    """An answer other than the one that was asked for."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        """`more` are members of their own, such as `errors`."""
        super().__init__(detail)
        self.status, self.code, self.detail, self.headers, self.more = status, code, detail, dict(headers or {}), more


def not_found(what: str, which: str) -> Problem:
    """It is not there, or it is somebody else's: nobody learns which."""
    return Problem(404, f"{what}_not_found", f"There is no {what} {which[:128]!r}.")


async def unless_lost(read: Awaitable[Result]) -> Result | None:
    """What is read for one line of a list; None where it is gone since then, or cannot be read, which the log says."""
    try:
        return await read
    except UnreadableRow as error:
        log.warning("left out of a list: %s", error)
    except Problem as problem:
        if problem.status != 404:
            raise
    return None


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
    """What a caller is told about an error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, OutcomeUnknown):
        words = "It is not known whether this was taken. Send it again with the same Idempotency-Key: it is done once."
        return Problem(503, "outcome_unknown", words, headers={"Retry-After": RETRY_AFTER})
    if isinstance(error, Unavailable):
        words = "A server that is needed does not answer now. Nothing was done; try again."
        return Problem(503, "unavailable", words, headers={"Retry-After": RETRY_AFTER})
    if isinstance(error, UnreadableRow):
        # Nothing in the request is wrong, and nothing that waiting would mend: what is stored is in the way of it.
        log.warning("a request needs what cannot be read: %s", error)
        return Problem(409, "unreadable", f"{str(error)[:1].upper()}{str(error)[1:]}")
    if isinstance(error, NotFound):
        return Problem(404, "not_found", str(error))
    if isinstance(error, TooLarge):
        return Problem(413, "body_too_large", f"Nothing was done: {error}.")
    if isinstance(error, BadRecord | BadItem):
        return Problem(422, "invalid", str(error))
    if isinstance(error, RequestValidationError):
        return invalid(error)
    if isinstance(error, HTTPException):
        words = error.detail or HTTPStatus(error.status_code).phrase
        code = _CODES.get(error.status_code) or HTTPStatus(error.status_code).name.lower()
        return Problem(error.status_code, code, words, headers=error.headers)
    write_down(error, "a request failed")
    return Problem(500, "internal_error", "Something went wrong here; it was written down under the request id.")


def write_down(error: Exception, words: str) -> None:
    """Logs an error that nobody foresaw, once, however many see it on its way out."""
    if not getattr(error, _WRITTEN, False):
        log.error(words, exc_info=error)
        with contextlib.suppress(AttributeError):  # a class with slots
            setattr(error, _WRITTEN, True)


def checked(model: type[Model], **fields: Any) -> Model:
    """A model of what a caller gave. Raises `Problem` where that does not fit."""
    try:
        return model(**fields)
    except ValidationError as error:
        raise invalid(error) from error


def known_time_zone(name: object) -> str:
    """A time zone that a caller names. Raises `Problem` where there is none of that name."""
    try:
        return check_zone(name if isinstance(name, str) else repr(name))
    except ValueError as error:
        raise Problem(422, "invalid", f"time_zone: {error}.") from error


def invalid(error: ValidationError | RequestValidationError) -> Problem:
    """What does not fit, in words and by field."""
    found = [
        {
            "field": ".".join(str(part) for part in e["loc"] if part != "body"),
            "problem": e["msg"].removeprefix("Value error, "),
        }
        for e in error.errors()
    ]
    detail = "; ".join(f"{e['field'] or 'the body'}: {e['problem']}" for e in found[:3])
    return Problem(422, "invalid", detail[:1000], errors=found[:20])


async def handle(request: Request, error: Exception) -> Response:
    """Exception handler of our applications."""
    return response(as_problem(error), request.scope.get("cauce.request_id", ""))


HANDLERS = {
    Problem: handle,
    HTTPException: handle,
    RequestValidationError: handle,
    ServerTrouble: handle,
    NotFound: handle,
    BadRecord: handle,
    BadItem: handle,
    Exception: handle,
}
