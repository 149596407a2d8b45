"""Agents: what answers in a tenant's threads, whether the tenant's own or the assistant of a hosted graph."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

from core.agent_names import find_agent
from core.graph_assistants import Assistant, Assistants
from core.permissions import Operation, require
from core.principal import Principal
from core.refusals import Invalid, not_found
from core.run_views import NewRun
from core.tenant_settings import Tenants
from schemas import AgentSettings, GraphRequest

MESSAGE_MODES = ("values", "messages")
"""What a graph streams that was sent a message, and not asked for more."""


class Agents:
    """The agents of whoever calls."""

    def __init__(self, tenants: Tenants, assistants: Assistants) -> None:
        self._tenants, self._assistants = tenants, assistants

    async def each(self, caller: Principal) -> AsyncGenerator[AgentSettings | Assistant]:
        """The tenant's own agents, then the assistants, the default ones of the graphs first; read page by page."""
        require(caller, Operation.READ)
        tenant = await self._tenants.of(caller)
        for agent in tenant.agents:
            yield agent
        async for assistant in self._assistants.each(caller, tenant):
            yield assistant

    async def get(self, caller: Principal, agent_id: str) -> AgentSettings | Assistant:
        """The tenant's own agent of this id, else the assistant that the id or a graph's name means. Raises `Missing`."""
        require(caller, Operation.READ)
        tenant = await self._tenants.of(caller)
        found = tenant.agent(agent_id) or await self._assistants.find(caller, tenant, agent_id)
        if found is None:
            raise not_found("agent", agent_id)
        return found

    async def find(self, caller: Principal, given: object) -> AgentSettings | Assistant:
        """The agent that clients of LangGraph mean: an assistant by its id or its graph's name, else one of the tenant's own by
        any of its names (`agent_names.py`). Raises `Missing`."""
        require(caller, Operation.READ)
        tenant = await self._tenants.of(caller)
        return await self._assistants.find(caller, tenant, given) or find_agent(tenant, given)

    async def prepared(self, caller: Principal, new: NewRun) -> NewRun:
        """The run, once it is known that its agent is there: a message to one of the tenant's own stays as it is, a message to a
        hosted graph becomes the graph's input, in the usual shape. Raises `Missing`."""
        if new.graph is not None:
            return new
        tenant = await self._tenants.of(caller)
        if tenant.agent(new.agent_id) is not None:
            return new
        found = await self._assistants.find(caller, tenant, new.agent_id)
        if found is None:
            raise not_found("agent", new.agent_id)
        if new.after is not None:
            detail = "A graph's thread goes back by its checkpoints, over the LangGraph API."
            raise Invalid("not_supported", detail)
        said = {"role": "user", "content": new.text, "id": new.message_id}
        config, context = found.configuration()
        request = GraphRequest(
            graph=found.graph_id,
            input={"messages": [said]},
            config=config,
            context=context,
            modes=MESSAGE_MODES,
            permissions=tuple(sorted(caller.scopes)),
        )
        return replace(new, agent_id=found.assistant_id, graph=request)
