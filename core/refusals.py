"""How a use case refuses: a class for each kind, a code for programs, a sentence for people. No status codes: every way in has
its own table from these classes to its own answers (HTTP: `connectors.gateway.problems`).

    Refused
    ├── Invalid         what was given does not fit
    │   └── Unreadable  ... so little that it cannot be looked at
    ├── Missing         it is not there, or it is somebody else's
    ├── Conflict        it does not fit what is there now
    ├── Forbidden       the caller may not
    ├── Expired         the credential's time is up
    ├── Limited         too much at a time; less, or later, is fine
    ├── NotNow          taken, or not, but not answered in time
    └── Broken          a part of the installation, such as a hosted graph, does not work
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from schemas import ID_RULE, CauceError, UnreadableRow, check_zone, is_id

log = logging.getLogger("cauce.core")

AGAIN_SECONDS = 2
"""After which a server that was away, or a worker that was not there, is worth another try."""

MOST_SHOWN = 60
"""Characters of a value that a refusal shows."""

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")


class Refused(CauceError):
    """What was asked for is not done. `code` does not change between versions; `detail` is for a person."""

    def __init__(self, code: str, detail: str, *, retry_after: int | None = None, **more: Any) -> None:
        """`retry_after` are seconds after which it may work; `more` are facts of their own, such as `errors` by field."""
        super().__init__(detail)
        self.code, self.detail, self.retry_after, self.more = code, detail, retry_after, more


class Invalid(Refused):
    """What was given is not valid, whatever the present state is."""


class Unreadable(Invalid):
    """What was given contradicts itself or cannot be read."""


class Missing(Refused):
    """What was named does not exist, or belongs to somebody else; the two are not distinguished."""


class Conflict(Refused):
    """The request conflicts with the present state."""


class Forbidden(Refused):
    """The caller may not do this."""


class Expired(Refused):
    """The credential's time is up."""


class Limited(Refused):
    """Too much at a time, or waiting."""


class NotNow(Refused):
    """Nobody has come to it in time, or the caller is too slow."""


class Broken(Refused):
    """A part of the installation does not work; its log says more."""


def not_found(what: str, which: str) -> Missing:
    """The refusal for a thing that is not the caller's to see."""
    return Missing(f"{what}_not_found", f"There is no {what} {which[:128]!r}.")


def not_active(state: str) -> Forbidden:
    """The refusal in a tenant that is paused or closed."""
    said = "paused; what is there can be read" if state == "paused" else "closed"
    return Forbidden(f"tenant_{state}", f"The tenant is {said}. Its administrator can say why.")


def blocked() -> Forbidden:
    """The refusal for a user whom an administrator has blocked."""
    return Forbidden("user_blocked", "The user is blocked; the tenant's administrator can say why.")


def unfit(name: str, given: object, allowed: str, *, code: str = "invalid") -> Invalid:
    """The refusal of a value that does not fit: what was given, and what is allowed."""
    return Invalid(code, f"{name} is {shown(given)}, but must be {allowed}.")


def shown(given: object) -> str:
    """The beginning of a value as JSON; "missing" for None."""
    if given is None:
        return "missing"
    text = json.dumps(given, ensure_ascii=False, default=repr)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def checked(model: type[Model], **fields: Any) -> Model:
    """A model of what a caller gave. Raises `Invalid` where that does not fit."""
    try:
        return model(**fields)
    except ValidationError as error:
        raise invalid(error.errors()) from error


def invalid(errors: Any) -> Invalid:
    """What is not valid, as text and by field; `errors` as pydantic lists them."""
    found = [
        {
            "field": ".".join(str(part) for part in e["loc"] if part != "body"),
            "problem": e["msg"].removeprefix("Value error, "),
        }
        for e in errors
    ]
    detail = "; ".join(f"{e['field'] or 'the body'}: {e['problem']}" for e in found[:3])
    return Invalid("invalid", detail[:1000], errors=found[:20])


def known_id(what: str, given: str) -> str:
    """An id that a caller names. Raises `Invalid` where it cannot be one."""
    if not is_id(given):
        raise Invalid("invalid", f"{given[:200]!r} cannot be the id of a {what}: it may have {ID_RULE}.")
    return given


def known_time_zone(name: object) -> str:
    """A time zone that a caller names. Raises `Invalid` where there is none of that name."""
    try:
        return check_zone(name if isinstance(name, str) else repr(name))
    except ValueError as error:
        raise Invalid("invalid", f"time_zone: {error}.") from error


async def unless_lost(read: Awaitable[Result]) -> Result | None:
    """What is read for one line of a list; None where it is gone since then, or cannot be read, which the log says."""
    try:
        return await read
    except UnreadableRow as error:
        log.warning("left out of a list: %s", error)
    except Missing:
        pass
    return None
