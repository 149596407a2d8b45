"""The audit processor: `audit.events` into the store, many rows a write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from schemas import Output, RawRecord, Record, ServerTrouble, first_offset
from state import AuditRow, AuditStore
from streams import RuntimeView

GATHER_SECONDS = 0.02
"""Events of a tenant that come within this time are written together."""

_Refused = list[tuple[AuditRow, Exception]]


class AuditProcessor:
    """Writes each event at its offset: its order is that of the topic whenever it is written, and a replay writes the same row.

    An event that was replayed from `dead.letters` is written at its original position, unless a row is there.

    So the runtime passes all events concurrently (`in_order=False`), and those of a tenant share a write.
    """

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._gathering: dict[str, tuple[list[AuditRow], asyncio.Task[_Refused]]] = {}

    async def process(self, record: Record) -> Sequence[Output]:
        """Stores the event; publishes nothing. Raises what the store refuses this event with, whatever came of others."""
        first = first_offset(record.raw)
        row = AuditRow(event_id=record.envelope.id, position=record.raw.offset, event=record.body)
        if first is not None:
            await self._store.add_missing(record.tenant_id, replace(row, position=first))
            return ()
        gathered = self._gathering.get(record.tenant_id)
        if gathered is None:
            rows: list[AuditRow] = []
            gathered = self._gathering[record.tenant_id] = (
                rows,
                asyncio.create_task(self._write(record.tenant_id, rows)),
            )
        gathered[0].append(row)
        # The write belongs to all who wait: one of them being cancelled must not end it.
        refused = await asyncio.shield(gathered[1])
        for other, error in refused:
            if other is row:
                raise error
        return ()

    async def _write(self, tenant_id: str, rows: list[AuditRow]) -> _Refused:
        """Writes them together or, where the store takes no such write, one by one; those that it did not take."""
        await asyncio.sleep(GATHER_SECONDS)
        del self._gathering[tenant_id]
        try:
            await self._store.append(tenant_id, rows)
        except ServerTrouble:
            raise
        except Exception as error:
            return [(rows[0], error)] if len(rows) == 1 else await self._one_by_one(tenant_id, rows)
        return []

    async def _one_by_one(self, tenant_id: str, rows: list[AuditRow]) -> _Refused:
        refused: _Refused = []
        for row in rows:
            try:
                await self._store.append(tenant_id, [row])
            except Exception as error:
                refused.append((row, error))
        return refused

    async def give_up(self, record: Record, reason: str) -> Sequence[Output]:
        """Nothing waits for an audit row; the dead letter keeps the event."""
        return ()

    def attach(self, runtime: RuntimeView) -> None:
        """Nothing depends on the results of other records."""

    def arrived(self, raw: RawRecord) -> None:
        """Nothing in this group is urgent."""
