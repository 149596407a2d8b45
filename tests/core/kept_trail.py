"""What stores alone have of the audit trail, before a gateway sends it on."""

from __future__ import annotations

from schemas import AuditEvent, AuditWritten
from state import Stores


async def trail_of(stores: Stores, tenant_id: str) -> list[AuditEvent]:
    """The kept events of a tenant in order."""
    timers = sorted(await stores.timers.of_user(tenant_id, ""), key=lambda timer: timer.due)
    kept = [AuditWritten.model_validate_json(one.body) for one in timers if one.kind == AuditWritten.TYPE]
    return [one.event for one in kept]
