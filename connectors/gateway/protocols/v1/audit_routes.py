"""The audit trail in pages: one's own part of it, and a tenant's for its administrators."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from connectors.gateway.given_json import GivenJsonRoute
from connectors.gateway.permitted_routes import permitted
from connectors.gateway.protocols.v1.parameters import LARGE, Caller, CoreIn, Limit
from core.audit_reader import AuditPlace, AuditRow
from core.permissions import Operation
from core.refusals import unfit
from schemas.ids import ID_PATTERN

router = APIRouter(route_class=GivenJsonRoute)

_BEFORE = "`before` for the page of older ones; null if there are none."

Before = Annotated[
    str | None, Query(max_length=500, description="Only events older than those of the page that had this as `before`.")
]
UserId = Annotated[
    str | None,
    Query(pattern=ID_PATTERN, description="Only events of this user: what was done by the user, and about the user."),
]


class AuditOut(BaseModel):
    """A line of the audit trail."""

    event_id: str
    at: datetime
    action: str
    actor: str
    credential: str | None = Field(None, description="What the actor acted with, such as `key:` and the id of a key.")
    outcome: str
    user_id: str | None = None
    thread_id: str | None = None
    run_id: str | None = None
    subject: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)


class AdminAuditOut(AuditOut):
    """A line of the audit trail, as administrators see it."""

    reason: str | None = None
    request_id: str | None = Field(None, description="The `X-Request-Id` of the answer to the request that it came of.")
    address: str | None = Field(None, description="The network address that the request was from.")


class AuditList(BaseModel):
    """What was done for you and by you, newest last."""

    events: list[AuditOut]
    before: str | None = Field(description=_BEFORE)


class AdminAuditList(BaseModel):
    """What was done in the tenant, newest last."""

    events: list[AdminAuditOut]
    before: str | None = Field(description=_BEFORE)


@router.get("/audit", tags=["me"], dependencies=[*LARGE, permitted(Operation.READ)])
async def my_audit(core: CoreIn, caller: Caller, before: Before = None, limit: Limit = 100) -> AuditList:
    """What was done for you and by you, newest last: the newest events, or those before a given page."""
    found = await core.audit.own(caller, limit=limit, before=_place(before))
    return AuditList(events=[AuditOut(**_shown(row, AuditOut)) for row in found], before=_cursor(found.next))


@router.get("/admin/audit", tags=["admin"], dependencies=[*LARGE, permitted(Operation.ADMINISTER)])
async def tenant_audit(
    core: CoreIn, caller: Caller, user_id: UserId = None, before: Before = None, limit: Limit = 100
) -> AdminAuditList:
    """What was done in the tenant, or what is of one user, newest last: the newest events, or those before a given page."""
    found = await core.audit.tail(caller, caller.tenant_id, limit=limit, user_id=user_id, before=_place(before))
    events = [AdminAuditOut(**_shown(row, AdminAuditOut)) for row in found]
    return AdminAuditList(events=events, before=_cursor(found.next))


def _shown(row: AuditRow, model: type[AuditOut]) -> dict[str, Any]:
    return {"event_id": row.event_id, **row.event.model_dump(include=set(model.model_fields) - {"event_id"})}


def _cursor(place: AuditPlace | None) -> str | None:
    return None if place is None else base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _place(cursor: str | None) -> AuditPlace | None:
    """Where the page of a cursor begins. Raises `Refused`."""
    if cursor is None:
        return None
    try:
        position, event_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        if type(position) is int and -(2**63) <= position < 2**63:
            return position, event_id.encode().decode()
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise unfit("before", cursor, "the `before` of a page") from error
    raise unfit("before", cursor, "the `before` of a page")
