"""The part `http` of a `langgraph.json`: the application's own routes, and which of our routes are served."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from schemas import SettingsError

Group: TypeAlias = Literal["assistants", "threads", "runs", "store", "meta"]
GROUPS: tuple[Group, ...] = ("assistants", "threads", "runs", "store", "meta")
"""What each `http.disable_*` removes from the LangGraph API."""
NOT_THERE = ("mcp", "a2a", "ui", "webhooks")
"""What `http.disable_*` may name although it is never served."""
_ORDERS = ("middleware_first", "auth_first")


@dataclass(frozen=True, slots=True)
class CorsRules:
    """CORS rules, as arguments of Starlette's CORS middleware."""

    allow_origins: tuple[str, ...] = ()
    allow_origin_regex: str | None = None
    allow_methods: tuple[str, ...] = ("*",)
    allow_headers: tuple[str, ...] = ("*",)
    expose_headers: tuple[str, ...] = ()
    """Headers exposed in addition to ours."""
    max_age: int = 600


@dataclass(frozen=True, slots=True)
class HttpPart:
    """The contents of the part. `app` is written as in `[graphs]`, with an absolute path; None if there is none."""

    app: str | None = None
    opened: bool = False
    """Whether the application's own routes are open to requests without a credential; only if the file opens them explicitly."""
    auth_first: bool = False
    """Whether its middleware sees only authenticated requests."""
    without: frozenset[Group] = frozenset()
    cors: CorsRules = field(default_factory=CorsRules)


def http_part(path: Path, given: Mapping[str, Any], folder: Path) -> HttpPart:
    """Reads the part. Raises `SettingsError` for a value of the wrong type, and for an unknown `disable_*`."""
    without = set[Group]()
    for name, value in given.items():
        if name.startswith("disable_") and value not in (None, False):
            group = name.removeprefix("disable_")
            if value is not True:
                raise SettingsError(f"{path}: http.{name} must be true or false, not {value!r:.150}")
            if group in GROUPS:
                without.add(group)
            elif group not in NOT_THERE:
                raise SettingsError(
                    f"{path} names http.{name}, which is not supported. Remove it from the file to run without it"
                )
    signed_in, order = given.get("enable_custom_route_auth"), given.get("middleware_order")
    if signed_in not in (None, True, False):
        raise SettingsError(f"{path}: http.enable_custom_route_auth must be true or false, not {signed_in!r:.150}")
    if order is not None and order not in _ORDERS:
        raise SettingsError(f"{path}: http.middleware_order must be one of {', '.join(_ORDERS)}, not {order!r:.150}")
    return HttpPart(
        _app(path, given.get("app"), folder),
        opened=signed_in is False,
        auth_first=order == "auth_first",
        without=frozenset(without),
        cors=_cors(path, given.get("cors") or {}),
    )


def _app(path: Path, given: object, folder: Path) -> str | None:
    if given in (None, ""):
        return None
    place, _, thing = given.rpartition(":") if isinstance(given, str) else ("", "", "")
    if not place or not thing:
        raise SettingsError(f"{path}: http.app must be ./path/file.py:object or module:object, not {given!r:.150}")
    if re.search(r"\.[cm]?[jt]sx?$", place):
        raise SettingsError(
            f"{path} names http.app {given!r}, which is JavaScript; only Python applications are served here. Run it on its own "
            "server, and remove `app` from the file"
        )
    return f"{(folder / place).resolve()}:{thing}" if place.endswith(".py") else f"{place}:{thing}"


def _cors(path: Path, given: object) -> CorsRules:
    if not isinstance(given, dict):
        raise SettingsError(f'{path}: http.cors must be an object, such as {{"allow_origins": ["https://a.example"]}}')
    found: dict[str, Any] = {}
    for name in ("allow_origins", "allow_methods", "allow_headers", "expose_headers"):
        value = given.get(name)
        if value is not None:
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise SettingsError(f"{path}: http.cors.{name} must be a list of strings, not {value!r:.150}")
            found[name] = tuple(value)
    if (pattern := given.get("allow_origin_regex")) is not None:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise SettingsError(
                f"{path}: http.cors.allow_origin_regex must be a regular expression, not {pattern!r:.150} ({error})"
            ) from None
        found["allow_origin_regex"] = pattern
    if (age := given.get("max_age")) is not None:
        if not isinstance(age, int) or isinstance(age, bool) or age < 0:
            raise SettingsError(f"{path}: http.cors.max_age must be a number of seconds, not {age!r:.150}")
        found["max_age"] = age
    return CorsRules(**found)
