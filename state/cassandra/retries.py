"""Which statements the driver may retry by itself."""

from __future__ import annotations

from typing import Any

from cassandra.policies import RetryPolicy

_REPEATS = 2

Decision = tuple[int, Any]


class IdempotentOnly(RetryPolicy):  # type: ignore[misc]
    """Repeats a statement only when it says itself that it is idempotent, and then twice at most.

    The driver's own policy asks for the next host after every connection error, whatever the statement is: a
    conditional write or a list append would be applied twice.
    """

    def on_read_timeout(
        self,
        query: Any,
        consistency: int,
        required_responses: int,
        received_responses: int,
        data_retrieved: bool,
        retry_num: int,
    ) -> Decision:
        """Once more when enough replicas answered and only the data was missing."""
        if self._may_repeat(query, retry_num) and received_responses >= required_responses and not data_retrieved:
            return self.RETRY, consistency
        return self.RETHROW, None

    def on_write_timeout(
        self,
        query: Any,
        consistency: int,
        write_type: int,
        required_responses: int,
        received_responses: int,
        retry_num: int,
    ) -> Decision:
        """Once more: the same values are written again."""
        return (self.RETRY, consistency) if self._may_repeat(query, retry_num) else (self.RETHROW, None)

    def on_unavailable(
        self, query: Any, consistency: int, required_replicas: int, alive_replicas: int, retry_num: int
    ) -> Decision:
        """At the next host, which may see other replicas alive."""
        return (self.RETRY_NEXT_HOST, None) if self._may_repeat(query, retry_num) else (self.RETHROW, None)

    def on_request_error(self, query: Any, consistency: int, error: Exception, retry_num: int) -> Decision:
        """At the next host."""
        return (self.RETRY_NEXT_HOST, None) if self._may_repeat(query, retry_num) else (self.RETHROW, None)

    @staticmethod
    def _may_repeat(query: Any, retry_num: int) -> bool:
        return getattr(query, "is_idempotent", False) is True and retry_num < _REPEATS
