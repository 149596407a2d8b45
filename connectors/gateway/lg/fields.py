"""Fields of a body by their types. One that is absent or null is not given; one of another type is refused, never passed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import Invalid


def text(body: Mapping[str, Any], name: str, where: str = "") -> str | None:
    """A text; one that is empty is not given. Raises `Refused`."""
    given = body.get(name)
    if given is not None and not isinstance(given, str):
        raise Invalid("invalid", f"{where}{name} must be a text.")
    return given or None


def one_of(body: Mapping[str, Any], name: str, choices: Sequence[str]) -> str | None:
    """One of the choices. Raises `Refused` with all of them."""
    given = body.get(name)
    if given is not None and not (isinstance(given, str) and given in choices):
        raise Invalid("invalid", f"{name} is one of {', '.join(choices)}.")
    return given


def texts(body: Mapping[str, Any], name: str) -> list[str] | None:
    """A list of texts, which may be empty. Raises `Refused`."""
    given = body.get(name)
    if given is not None and not (isinstance(given, list) and all(isinstance(one, str) for one in given)):
        raise Invalid("invalid", f"{name} must be a list of texts.")
    return given


def flag(body: Mapping[str, Any], name: str) -> bool:
    """Whether it is true; false when it is not given. Raises `Refused`."""
    given = body.get(name)
    if given is not None and not isinstance(given, bool):
        raise Invalid("invalid", f"{name} must be true or false.")
    return bool(given)
