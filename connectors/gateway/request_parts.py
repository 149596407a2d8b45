"""Parts of requests for those protocols that read bodies themselves: who calls, the body, and its fields by their types. A field
that is absent or null is not given; one of another type is refused, never passed over."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from connectors.gateway.auth.middleware import principal_of
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.given_json import given_json
from core.principal import Principal
from core.refusals import Invalid, unfit

MOST_TEXTS = 1_000
"""Texts in a list of a body, such as ids or names of fields."""

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
_DIGITS = re.compile(r"-?[0-9]{1,19}")
"""ASCII alone: `int` takes the digits of other scripts, too, and `str.isdigit` even those that `int` does not."""


def core_of(request: Request) -> GatewayCore:
    """The core behind the application."""
    core: GatewayCore = request.app.state.core
    return core


def caller_of(request: Request) -> Principal:
    """Who calls."""
    return principal_of(request)


def large(handler: Handler) -> Handler:
    """A handler whose answer may be large: few of a user are at work at a time, the others wait for their turn."""

    @wraps(handler)
    async def in_turn(request: Request) -> Response:
        caller = caller_of(request)
        async with core_of(request).large_answers.place((caller.tenant_id, caller.user_id)):
            return await handler(request)

    return in_turn


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request; an empty body is an empty object. Raises `Refused`."""
    found = await _json(request)
    if not isinstance(found, dict):
        raise unfit("the body", found, "a JSON object")
    return found


async def bodies_of(request: Request, most: int) -> list[dict[str, Any]]:
    """The JSON objects of a request that has up to `most` of them in a list. Raises `Refused`."""
    found = await _json(request)
    if not isinstance(found, list) or not all(isinstance(body, dict) for body in found):
        raise unfit("the body", found, "a list of JSON objects")
    if len(found) > most:
        raise Invalid("invalid", f"The body has {len(found)} objects, but at most {most} are allowed in one request.")
    return found


async def _json(request: Request) -> object:
    raw = await request.body()
    return given_json(raw) if raw.strip() else {}


def number(given: object, name: str, default: int, most: int) -> int:
    """A count from a body or a query, at most `most`. Raises `Refused`."""
    if given is None:
        return default
    found = whole(given)
    if found is None:
        raise unfit(name, given, "a whole number")
    if found < 0:
        raise unfit(name, found, "0 or more")
    return min(found, most)


def whole(given: object) -> int | None:
    """The whole number that is given, as a number or as its digits; None for anything else, and for more than 19 digits."""
    if isinstance(given, bool):
        return None
    if isinstance(given, float) and given.is_integer() and abs(given) < 2**63:
        return int(given)
    if isinstance(given, str) and _DIGITS.fullmatch(given):
        given = int(given)
    return given if isinstance(given, int) and abs(given) < 2**63 else None


def page_of(given: Mapping[str, Any], default: int = 10) -> tuple[int, int]:
    """Limit and offset of a body or a query. Raises `Refused`."""
    return number(given.get("limit"), "limit", default, 1000), number(given.get("offset"), "offset", 0, 10**6)


def is_set(request: Request, name: str) -> bool:
    """Whether the query says yes."""
    return request.query_params.get(name) in ("1", "true", "True")


def mapping(given: object, name: str, *, most: int | None = None) -> dict[str, Any]:
    """An object of a body, empty when absent; with `most` one of at most so many characters as JSON. Raises `Refused`."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise unfit(name, given, "an object")
    if most is not None and len(json.dumps(given)) > most:
        raise unfit(name, given, f"an object of at most {most:,} characters as JSON")
    return given


def text(body: Mapping[str, Any], name: str, where: str = "") -> str | None:
    """A text; one that is empty is not given. Raises `Refused`."""
    given = body.get(name)
    if given is not None and not isinstance(given, str):
        raise unfit(f"{where}{name}", given, "a string")
    return given or None


def one_of(body: Mapping[str, Any], name: str, choices: Sequence[str]) -> str | None:
    """One of the choices. Raises `Refused` with all of them."""
    given = body.get(name)
    if given is not None and not (isinstance(given, str) and given in choices):
        raise unfit(name, given, f"one of {', '.join(choices)}")
    return given


def texts(body: Mapping[str, Any], name: str) -> list[str] | None:
    """A list of at most `MOST_TEXTS` texts, which may be empty. Raises `Refused`."""
    given = body.get(name)
    if given is not None and not (isinstance(given, list) and all(isinstance(one, str) for one in given)):
        raise unfit(name, given, "a list of strings")
    if given is not None and len(given) > MOST_TEXTS:
        raise unfit(name, f"a list of {len(given)} strings", f"at most {MOST_TEXTS}")
    return given


def flag(body: Mapping[str, Any], name: str) -> bool:
    """Whether it is true; false when it is not given. Raises `Refused`."""
    given = body.get(name)
    if given is not None and not isinstance(given, bool):
        raise unfit(name, given, "true or false")
    return bool(given)
