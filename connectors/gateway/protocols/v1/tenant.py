"""What a caller finds in the tenant besides threads: its agents, who one is there, and one's part of the audit trail."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from connectors.gateway.given_json import GivenJsonRoute
from connectors.gateway.protocols.v1 import models as m
from connectors.gateway.protocols.v1.parameters import Caller, CoreIn, Limit
from core.principal import Principal
from schemas import Tenant, User
from schemas.clock import utc_now
from schemas.ids import ID_PATTERN

AUDIT_LOOK = 2_000
"""Newest rows of the tenant's trail in which one's own are looked for."""

router = APIRouter(route_class=GivenJsonRoute)


@router.get("/agents", tags=["agents"])
async def list_agents(core: CoreIn, caller: Caller) -> m.AgentList:
    """The tenant's agents, and the hosted graphs."""
    caller.require("read")
    tenant = await core.tenant(caller)
    agents = [m.AgentOut.of(a) for a in tenant.agents]
    return m.AgentList(agents=[*agents, *(m.AgentOut.of_graph(a) for a in await core.assistants.all(tenant))])


@router.get("/agents/{agent_id}", tags=["agents"])
async def get_agent(core: CoreIn, caller: Caller, agent_id: Annotated[str, Path(pattern=ID_PATTERN)]) -> m.AgentOut:
    """One agent, or a hosted graph."""
    caller.require("read")
    if (await core.tenant(caller)).agent(agent_id) is None and (found := await core.assistant(caller, agent_id)):
        return m.AgentOut.of_graph(found)
    return m.AgentOut.of(await core.agent(caller, agent_id))


@router.get("/me", tags=["me"])
async def me(core: CoreIn, caller: Caller) -> m.MeOut:
    """Who you are here."""
    return _me(caller, await core.tenant(caller), await core.stores.directory.user(caller.tenant_id, caller.user_id))


@router.patch("/me", tags=["me"])
async def change_me(core: CoreIn, caller: Caller, body: m.MeChange) -> m.MeOut:
    """Change your name or your time zone. Agents follow within seconds."""
    caller.require("write")
    directory = core.stores.directory
    user = await directory.user(caller.tenant_id, caller.user_id) or User(
        tenant_id=caller.tenant_id, user_id=caller.user_id, created_at=utc_now()
    )
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    if changes.get("name", "") is None:
        changes["name"] = ""
    user = user.model_copy(update=changes)
    await directory.put_user(user)
    return _me(caller, await core.tenant(caller), user)


def _me(caller: Principal, tenant: Tenant, user: User | None) -> m.MeOut:
    return m.MeOut(
        tenant_id=caller.tenant_id,
        user_id=caller.user_id,
        name=user.name if user else "",
        time_zone=(user.time_zone if user else None) or tenant.time_zone,
        scopes=sorted(caller.scopes),
        credential=caller.kind,
        expires_at=caller.expires,
        plan={},
        accounts=[],
    )


@router.get("/audit", tags=["me"])
async def my_audit(core: CoreIn, caller: Caller, limit: Limit = 100) -> m.AuditList:
    """What was done for you and by you, the newest last."""
    caller.require("read")
    rows = await core.stores.audit.tail(caller.tenant_id, limit=AUDIT_LOOK)
    own = [row for row in rows if row.event.user_id == caller.user_id][-limit:]
    return m.AuditList(
        events=[
            m.AuditOut(
                event_id=row.event_id, **row.event.model_dump(include=set(m.AuditOut.model_fields) - {"event_id"})
            )
            for row in own
        ]
    )
