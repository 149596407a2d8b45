"""The door for JSON that callers give: what comes through it can be written into records and stores, and read again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

from connectors.gateway.problems import Problem
from core.refusals import Invalid, Refused
from schemas import is_deep, is_storable

_LEAST, _MOST = -(2**63), 2**64 - 1
"""Whole numbers of 64 bits: LangGraph's checkpoints hold no others."""
DEEPEST_GIVEN = 32
"""Levels of objects and lists in JSON of callers: it is put into bodies, and those into others (`schemas.DEEPEST_BODY`)."""


def given_json(raw: bytes | str, name: str = "the body") -> Any:
    """The value of a JSON text. Raises `Refused`: 400 if it is not JSON, 422 for values that cannot be stored: unpaired
    surrogates, numbers that are not finite, integers of more than 64 bits, more than `DEEPEST_GIVEN` levels."""

    def whole(digits: str) -> int:
        found = int(digits) if len(digits) <= 20 else _MOST + 1
        if not _LEAST <= found <= _MOST:
            raise _unfit(f"{name} has the whole number {digits[:24]}, which takes more than 64 bits; send it as a text")
        return found

    def broken(digits: str) -> float:
        found = float(digits)
        if not math.isfinite(found):
            raise _unfit(f"{name} has the number {digits[:24]}, which is too large")
        return found

    def constant(word: str) -> NoReturn:
        raise _unfit(f"{name} has {word}, which is not JSON; send null or a text")

    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8-sig")
        found = json.loads(text, parse_int=whole, parse_float=broken, parse_constant=constant)
    except RecursionError as error:
        raise Problem(
            400, "not_json", f"{_begun(name)} has more than {DEEPEST_GIVEN} levels of objects and lists."
        ) from error
    except ValueError as error:
        raise Problem(400, "not_json", f"{_begun(name)} is not JSON: {str(error)[:200]}") from error
    if is_deep(text.encode("utf-8", "surrogatepass"), DEEPEST_GIVEN):
        raise _unfit(f"{name} has more than {DEEPEST_GIVEN} levels of objects and lists")
    if "\\u" in text and (where := _half(found, "")) is not None:
        path = f" at {where[1:]}" if where else ""
        raise _unfit(f"{name} has half of a surrogate pair (such as \\ud83d alone){path}; it is no character")
    return found


class GivenJsonRoute(APIRoute):
    """A route of FastAPI whose JSON body comes through this door."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            if raw := await request.body():
                try:
                    given_json(raw)
                except Refused as refused:
                    if not isinstance(
                        refused.__cause__, json.JSONDecodeError
                    ):  # FastAPI says the path of such an error
                        raise
            return await handle(request)

        return checked


def _unfit(detail: str) -> Invalid:
    return Invalid("invalid", f"{_begun(detail)}.")


def _begun(detail: str) -> str:
    return detail[:1].upper() + detail[1:]


def _half(value: Any, path: str) -> str | None:
    """The path of a text that UTF-8 cannot represent; None if there is none."""
    if isinstance(value, str):
        return None if is_storable(value) else path
    if isinstance(value, dict):
        for name, inner in value.items():
            if not is_storable(name):
                return f"{path}.{ascii(name)[1:101]}"
            if (found := _half(inner, f"{path}.{name}"[:400])) is not None:
                return found
    if isinstance(value, list):
        for at, inner in enumerate(value):
            if (found := _half(inner, f"{path}[{at}]"[:400])) is not None:
                return found
    return None
