"""A failed model call, as text for the user, and whether the same request can ever succeed. Pure code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from schemas import ModelSettings, storable_error, storable_text

LONGEST_REASON = 300
_WORTH_ANOTHER_TRY = frozenset({408, 409, 425, 429})
"""Statuses from 400 to 499 that a retry of the same request may not meet again (RFC 9110, 8470, 6585)."""

_SECRETS = re.compile(
    r"""(?xi)
    (?P<name>\b(?:bearer|basic|api[-_ ]?key|access[-_ ]?token|token|secret|password|authorization|x-api-key|key)\b
        ["']?\s*[:=]?\s*["']?)  (?P<value>[^\s"',;)]{6,})
    | (?P<url>//)[^/\s@]+@
    | \b(?:sk|pk|rk|gsk|xai|hf|ghp|key|AIza|eyJ)[-_A-Za-z0-9*.]{8,}
    | \b(?=[A-Za-z0-9+/_-]*\d)(?=[A-Za-z0-9+/_-]*[A-Za-z])[A-Za-z0-9+/_-]{32,}={0,2}
    """
)
"""What looks like a key: providers quote the one that they refuse, and addresses may have one."""


def status_of(error: BaseException) -> int | None:
    """The HTTP status of a provider's refusal, wherever its library keeps it."""
    for one in _chain(error):
        response = _of(one, "response")
        if isinstance(response, Mapping):  # botocore
            response = response.get("ResponseMetadata")
            found = [response.get("HTTPStatusCode")] if isinstance(response, Mapping) else []
        else:
            found = [_of(response, "status_code")]
        for status in (_of(one, "status_code"), _of(one, "code"), *found):
            if isinstance(status, int) and 400 <= status < 600:
                return int(status)
    return None


def is_hopeless(error: BaseException) -> bool:
    """Whether the same request will be refused again."""
    status = status_of(error)
    return status is not None and 400 <= status < 500 and status not in _WORTH_ANOTHER_TRY


def model_error_message(settings: ModelSettings, error: BaseException) -> str:
    """A message for the user, with the provider's own reason, from which everything that looks like a key is removed."""
    status, reason = status_of(error), reason_of(error)
    if status in (401, 403):
        return f"The model {settings.name} refused the API key (HTTP {status}). Check the agent's api_key_env."
    if status is None:
        name = type(getattr(error, "original", error)).__name__
        return f"The model {settings.name} failed ({name}). Try again in a while."
    detail = f"HTTP {status}: {reason}" if reason else f"HTTP {status}"
    if is_hopeless(error):
        advice = "The same request would be refused again: change the agent's settings, or begin a new thread."
        return f"The model {settings.name} refused the request ({detail}). {advice}"
    return f"The model {settings.name} failed ({detail}). Try again in a while."


def reason_of(error: BaseException) -> str:
    """What the provider said, on one line of at most `LONGEST_REASON` characters; empty where it said nothing."""
    for one in _chain(error):
        if text := _said(_of(one, "body")):
            break
    else:
        text = storable_error(error, 4000).partition(": ")[2]
        if "{" in text:
            text = _said(text[text.index("{") :]) or text
    text = " ".join(storable_text(text).split())
    text = _SECRETS.sub(lambda m: f"{m['name'] or m['url'] or ''}[hidden]{'@' if m['url'] else ''}", text[:4000])
    return text[: LONGEST_REASON - 1] + "…" if len(text) > LONGEST_REASON else text


def _said(body: Any, depth: int = 0) -> str:
    """The message in a provider's error body: `{"message"}`, `{"error": {"message"}}`, `{"detail"}` and the like."""
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    if isinstance(body, str) and body.lstrip().startswith(("{", "[")):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return ""
    if isinstance(body, str):
        return body if depth else ""
    if isinstance(body, list):
        body = body[0] if body else None
    if not isinstance(body, Mapping) or depth > 4:
        return ""
    return next(
        (text for key in ("error", "message", "detail", "msg") if (text := _said(body.get(key), depth + 1))), ""
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was made of."""
    for _ in range(6):
        if error is None:
            return
        yield error
        original = _of(error, "original")
        error = original if isinstance(original, BaseException) else error.__cause__


def _of(thing: object, name: str) -> Any:
    """An attribute of somebody else's; None where there is none, or where asking for it raises."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None
