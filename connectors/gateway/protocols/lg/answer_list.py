"""Lists of the LangGraph Server API: plain JSON arrays, bounded by their number of entries and by bytes.

A header says where a list continues, as in LangGraph's server: `X-Pagination-Next` is the offset of what comes next.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from connectors.gateway.answer_bytes import ANSWER_BYTES, Allowance
from connectors.gateway.protocols.lg.thread_state import dumps


class AnswerList:
    """A list that is made entry by entry: each is JSON as soon as it is added, and nothing else of it is kept."""

    def __init__(self, limit: int, most: int = ANSWER_BYTES) -> None:
        self._limit, self._allowance = limit, Allowance(most)
        self._parts: list[bytes] = []

    def __len__(self) -> int:
        return len(self._parts)

    def has_room(self, size: int) -> bool:
        """Whether an entry of so many bytes would fit: one that is large is not made to find out that it does not."""
        return len(self._parts) < self._limit and self._allowance.has_room(size)

    def add(self, entry: object) -> bool:
        """Whether there is room for an entry; if so, it is in the list."""
        if len(self._parts) >= self._limit:
            return False
        part = dumps(entry).encode()
        if not self._allowance.takes(len(part)):
            return False
        self._parts.append(part)
        return True

    def answer(self, *, following: int | None = None, headers: Mapping[str, str] | None = None) -> Response:
        """The response; `following` is the offset of the next entry, where there is one."""
        more = {} if following is None else {"X-Pagination-Next": str(following)}
        body = b"[" + b",".join(self._parts) + b"]"
        return Response(body, headers={**(headers or {}), **more}, media_type="application/json")
