"""The names that agents go by: their own, a graph's name, and an assistant's UUID, since clients of LangGraph ask for these."""

from __future__ import annotations

import re
import uuid

from core.graph_assistants import NAMESPACE, default_id
from core.refusals import not_found
from schemas import AgentSettings, Tenant

_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def graph_id(agent_id: str) -> str:
    """The name by which its clients know an agent; `agent` is their default."""
    return "agent" if agent_id == "default" else agent_id


def assistant_id(tenant_id: str, agent_id: str) -> str:
    """The assistant's UUID: the same on every instance, different in every tenant. A hosted graph's assistant has its own id."""
    if _UUID.match(agent_id):
        return agent_id
    return str(uuid.uuid5(NAMESPACE, f"{tenant_id}:{agent_id}"))


def find_agent(tenant: Tenant, given: object) -> AgentSettings:
    """The agent that an assistant's id or a graph's name means. Raises `Refused`."""
    for agent in tenant.agents:
        name = graph_id(agent.agent_id)
        if given in (agent.agent_id, name, assistant_id(tenant.tenant_id, agent.agent_id), default_id(name)):
            return agent
    raise not_found("assistant", str(given))
