"""What a caller finds in the tenant besides threads: its agents, and who one is there."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from connectors.gateway.given_json import GivenJsonRoute
from connectors.gateway.permitted_routes import permitted
from connectors.gateway.protocols.v1 import models as m
from connectors.gateway.protocols.v1.parameters import LARGE, Caller, CoreIn
from core.permissions import Operation, allows
from core.principal import Principal
from core.user_settings import UserChange
from schemas import Tenant, User
from schemas.ids import ID_PATTERN

router = APIRouter(route_class=GivenJsonRoute)


@router.get(
    "/agents", tags=["agents"], response_model_exclude_none=True, dependencies=[*LARGE, permitted(Operation.READ)]
)
async def list_agents(core: CoreIn, caller: Caller) -> m.AgentList:
    """The tenant's agents, and the hosted graphs. Administrators also see how the agents are configured."""
    configured = allows(caller, Operation.ADMINISTER)
    every = core.agents.each(caller)
    return m.AgentList(agents=[m.AgentOut.of(agent, configured=configured) async for agent in every])


@router.get(
    "/agents/{agent_id}", tags=["agents"], response_model_exclude_none=True, dependencies=[permitted(Operation.READ)]
)
async def get_agent(core: CoreIn, caller: Caller, agent_id: Annotated[str, Path(pattern=ID_PATTERN)]) -> m.AgentOut:
    """One agent, or a hosted graph. Administrators also see how an agent is configured."""
    return m.AgentOut.of(await core.agents.get(caller, agent_id), configured=allows(caller, Operation.ADMINISTER))


@router.get("/me", tags=["me"], dependencies=[permitted(Operation.SEE_SELF)])
async def me(core: CoreIn, caller: Caller) -> m.MeOut:
    """The caller."""
    return _me(caller, await core.tenant(caller), await core.users.get(caller, caller.tenant_id, caller.user_id))


@router.patch("/me", tags=["me"], dependencies=[permitted(Operation.CHANGE_SELF)])
async def change_me(core: CoreIn, caller: Caller, body: m.MeChange) -> m.MeOut:
    """Change your name or your time zone. Agents use it within seconds."""
    tenant = await core.tenant(caller)
    change = UserChange(**{name: getattr(body, name) or "" for name in body.model_fields_set})
    return _me(caller, tenant, await core.users.change(caller, caller.tenant_id, caller.user_id, change))


def _me(caller: Principal, tenant: Tenant, user: User) -> m.MeOut:
    return m.MeOut(
        tenant_id=caller.tenant_id,
        user_id=caller.user_id,
        name=user.name,
        time_zone=user.time_zone or tenant.time_zone,
        scopes=sorted(caller.scopes),
        credential=caller.kind,
        expires_at=caller.expires,
        plan={},
        accounts=[],
    )
