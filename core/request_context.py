"""The ids of a request, for the records that are produced because of it."""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass

from schemas import is_id
from schemas.ids import new_traceparent, random_digits

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""Version 00 of W3C Trace Context, section 3.2."""


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Ids of a request. `request_id` is ours always: with one of its own a caller could hide its lines of the log among those of
    another."""

    request_id: str
    traceparent: str
    """The caller's, or made up where it gave none or nonsense."""
    client_request_id: str = ""
    """The caller's own id, where it gave one."""
    address: str = ""
    """The network address of the caller."""
    credential: str = ""
    """What the caller showed, once that is known to be valid (`Principal.credential`)."""

    @classmethod
    def of(cls, request_id: str = "", traceparent: str = "", address: str = "") -> RequestContext:
        """From the headers `X-Request-Id` and `traceparent`, and the caller's address."""
        if not _TRACEPARENT.fullmatch(traceparent):
            traceparent = new_traceparent()
        return cls(random_digits(16), traceparent, request_id if is_id(request_id) else "", address)

    @property
    def log_fields(self) -> dict[str, str]:
        """What lines of the log about this request have beside their text."""
        theirs = {"client_request_id": self.client_request_id} if self.client_request_id else {}
        return {"request_id": self.request_id, **theirs}


_current: ContextVar[RequestContext] = ContextVar("request_context")


def enter(context: RequestContext) -> None:
    """Makes it the context of the task that serves the request, and of those that it starts."""
    _current.set(context)


def served() -> RequestContext | None:
    """The context of the request that is being served; None outside of any."""
    return _current.get(None)


def current() -> RequestContext:
    """The context of the request that is being served; a fresh one outside of any."""
    return _current.get(None) or RequestContext.of()
