"""The audit processor: `audit.events` into the store, in order per tenant."""

from __future__ import annotations

from collections.abc import Sequence

from schemas import Output, RawRecord, Record
from state import AuditRow, AuditStore
from streams import RuntimeView


class AuditProcessor:
    """Writes each event at its offset, so that the order is that of the topic and a replay writes the same row."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def process(self, record: Record) -> Sequence[Output]:
        """Stores the event; publishes nothing."""
        row = AuditRow(event_id=record.envelope.id, position=record.raw.offset, event=record.body)
        await self._store.append(record.tenant_id, [row])
        return ()

    async def give_up(self, record: Record, reason: str) -> Sequence[Output]:
        """Nothing waits for an audit row; the dead letter keeps the event."""
        return ()

    def attach(self, runtime: RuntimeView) -> None:
        """One topic, whose records come again in their order."""

    def arrived(self, raw: RawRecord) -> None:
        """Nothing in this group is urgent."""
