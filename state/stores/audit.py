"""The audit trail, and how its rows are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from schemas import AuditEvent
from state.codec import Codec
from state.keeping import Piece, StoreHolding
from state.readable import readable


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An audit event and where it stands in the trail: `position` rises within a tenant (the offset in `audit.events`)."""

    event_id: str
    position: int
    event: AuditEvent


class AuditStore(Protocol):
    """The audit trail, in order per tenant."""

    async def append(self, tenant_id: str, rows: Sequence[AuditRow]) -> None:
        """Stores rows; a row that is there already (same position and event id) is stored again without effect."""
        ...

    async def add_missing(self, tenant_id: str, row: AuditRow) -> None:
        """Stores a row unless there is one of its position and event id, which stays as it is."""
        ...

    async def tail(self, tenant_id: str, *, limit: int = 100) -> list[AuditRow]:
        """The newest rows, oldest first."""
        ...

    def export(self, tenant_id: str, *, since: datetime | None = None) -> AsyncIterator[AuditRow]:
        """All rows in order, from `since` on."""
        ...

    async def erase(self, tenant_id: str) -> None:
        """Removes the trail of a tenant that is gone, and what came for it after an earlier erasure.

        Cassandra reads the keys of all tenants for it; events of the next minute may not be found until later ones come.
        """
        ...


def audit_values(codec: Codec, tenant_id: str, row: AuditRow) -> tuple[int, str, bytes]:
    """Position, id and body of a row."""
    return row.position, row.event_id, codec.encode(tenant_id, row.event.to_bytes())


def decode_audit(codec: Codec, rows: Iterable[Sequence[Any]], tenant_id: str) -> Iterator[AuditRow]:
    """Audit events from rows of positions, ids and bodies."""
    return readable(
        rows,
        lambda row: AuditRow(
            event_id=row[1], position=row[0], event=AuditEvent.model_validate_json(codec.decode(tenant_id, row[2]))
        ),
        lambda row: f"the audit event {row[1]} at {row[0]} of {tenant_id}",
    )


async def _copy(audit: AuditStore, tenant_id: str, user_id: str | None) -> AsyncIterator[Piece]:
    async for row in audit.export(tenant_id):
        if user_id in (None, row.event.user_id) or row.event.actor == f"user:{user_id}":
            yield Piece(f"events/{row.position}/{row.event_id}", row.event.to_bytes())


async def _erase(audit: AuditStore, tenant_id: str, user_id: str | None, before: datetime) -> None:
    if user_id is None:
        await audit.erase(tenant_id)


HOLDING = StoreHolding(
    name="audit",
    kind="store",
    user="Who did what, when, with what outcome; no content of messages.",
    tenant="The trail is the tenant's.",
    exported="Events that name the user; of a tenant all.",
    erased=(
        "Immediately, with the tenant; the events of the erasure itself come later, and are removed when it is erased again. "
        "What names a user stays until then: the trail is the tenant's proof of what was done."
    ),
    tables=("audit", "audit_months"),
    copy=_copy,
    erase=_erase,
)
