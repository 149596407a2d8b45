"""The audit trail, and how its rows are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from schemas import AuditEvent
from schemas.ids import random_digits
from state.codec import Codec
from state.keeping import Piece, StoreHolding
from state.pages import PAGE_BYTES, Page
from state.readable import readable

AuditPlace: TypeAlias = tuple[int, str]
"""Where a row stands in the trail of its tenant: its position and its event id."""
END: AuditPlace = ((1 << 63) - 1, "")
"""Behind every row."""
ERASED = "erased-"
"""What the name begins with that events get for a user who is erased."""
_BY_USER = "user:"
_ROWS_A_WRITE = 200


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An audit event and where it stands in the trail: `position` rises within a tenant (the offset in `audit.events`)."""

    event_id: str
    position: int
    event: AuditEvent

    @property
    def place(self) -> AuditPlace:
        """What a page of older rows is asked for with."""
        return self.position, self.event_id


def users_of(event: AuditEvent) -> set[str]:
    """Ids of the users whose event it is: whom it is about, and who did it. They differ where an administrator acts on a user."""
    about = {event.user_id} if event.user_id else set[str]()
    return about | {event.actor.removeprefix(_BY_USER)} if _is_user(event.actor) else about


def _is_user(actor: str) -> bool:
    return actor.startswith(_BY_USER) and len(actor) > len(_BY_USER)


class AuditStore(Protocol):
    """The audit trail, in order per tenant."""

    async def append(self, tenant_id: str, rows: Sequence[AuditRow]) -> None:
        """Stores rows; a row that is there already (same position and event id) is stored again without effect."""
        ...

    async def add_missing(self, tenant_id: str, row: AuditRow) -> None:
        """Stores a row unless there is one of its position and event id, which stays as it is."""
        ...

    async def tail(
        self, tenant_id: str, *, limit: int = 100, before: AuditPlace | None = None, max_bytes: int = PAGE_BYTES
    ) -> Page[AuditRow]:
        """The newest rows, those before a place where one is given, oldest first. `next` is the `before` of the older ones."""
        ...

    async def of_user(
        self,
        tenant_id: str,
        user_id: str,
        *,
        limit: int = 100,
        before: AuditPlace | None = None,
        max_bytes: int = PAGE_BYTES,
    ) -> Page[AuditRow]:
        """As `tail`, of the rows that are a user's (`users_of`), however many others there are.

        On Cassandra without those that a version before there was this list has written.
        """
        ...

    def export(self, tenant_id: str, *, since: datetime | None = None) -> AsyncIterator[AuditRow]:
        """All rows in order, from `since` on."""
        ...

    async def erase(self, tenant_id: str) -> None:
        """Removes the trail of a tenant that is gone, and what came for it after an earlier erasure.

        Cassandra reads the keys of all tenants for it; events of the next minute may not be found until later ones come.
        """
        ...

    async def erase_user(self, tenant_id: str, user_id: str) -> None:
        """Gives all rows of a user another name in place of the user's id (`without_user`), the same one in all of them.

        Reads the whole trail of the tenant. Rows that come later name the user again, until the next call.
        """
        ...


def without_user(event: AuditEvent, user_id: str, alias: str) -> AuditEvent:
    """The event with this alias for a user, also as its subject and in its details, and without what else leads to a person:
    the credential, the request and the address."""
    fields = AuditEvent.model_fields
    changed: dict[str, Any] = {
        name: fields[name].get_default() for name in ("credential", "request_id", "address") if name in fields
    }
    names = {user_id: alias, _BY_USER + user_id: _BY_USER + alias}
    for field in ("actor", "user_id", "subject", "details"):
        changed[field] = _renamed(getattr(event, field), names)
    return event.model_copy(update=changed)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {key: _renamed(found, names) for key, found in value.items()}
    return [_renamed(found, names) for found in value] if isinstance(value, (list, tuple)) else value


async def rename_user(audit: AuditStore, tenant_id: str, user_id: str) -> None:
    """Stores the rows of a user again, under a name that was made for this and is kept nowhere else: nothing leads back."""
    alias, rows = ERASED + random_digits(12), list[AuditRow]()
    async for row in audit.export(tenant_id):
        if user_id in users_of(row.event):
            rows.append(replace(row, event=without_user(row.event, user_id, alias)))
            if len(rows) == _ROWS_A_WRITE:
                await audit.append(tenant_id, rows)
                rows = []
    await audit.append(tenant_id, rows)


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
        if user_id is None or user_id in users_of(row.event):
            yield Piece(f"events/{row.position}/{row.event_id}", row.event.to_bytes())


async def _erase(audit: AuditStore, tenant_id: str, user_id: str | None, before: datetime) -> None:
    await (audit.erase(tenant_id) if user_id is None else audit.erase_user(tenant_id, user_id))


HOLDING = StoreHolding(
    name="audit",
    kind="store",
    user="Who did what, when, with what outcome; no content of messages.",
    tenant="The trail is the tenant's.",
    exported="Events that name the user; of a tenant all.",
    erased=(
        "Immediately, with the tenant; the events of the erasure itself come later, and are removed when it is erased again. "
        "The events of a user stay, as the tenant's proof of what was done, but no longer name the user: a name that is made "
        "for this and kept nowhere else takes the place of the id. Events that come later, such as those of the "
        "erasure itself, name the user until it is repeated."
    ),
    tables=("audit", "audit_months", "audit_by_user"),
    copy=_copy,
    erase=_erase,
)
