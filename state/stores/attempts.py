"""Attempts at records that may have killed their worker."""

from __future__ import annotations

from typing import Protocol

from state.keeping import StoreHolding


class AttemptStore(Protocol):
    """How often a record was begun, for records that may have killed their worker."""

    async def begun(self, group: str, topic: str, partition: int, offset: int) -> int:
        """How often it was begun and not forgotten."""
        ...

    async def begin(self, group: str, topic: str, partition: int, offset: int) -> int:
        """Counts one more attempt durably and returns the count, 1 for the first."""
        ...

    async def forget(self, group: str, topic: str, partition: int, offset: int) -> None:
        """Drops the count of a record that is done, or whose processing ended for another reason than a crash."""
        ...


HOLDING = StoreHolding(
    name="attempts",
    kind="store",
    exported="Nothing: it has positions in topics, and of nobody.",
    erased="By whoever finishes the record; in Cassandra after 30 days at the latest.",
    tables=("attempts",),
)
