"""One way to the agents of a tenant, whether its own or hosted graphs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.agents import Agents
from core.graph_assistants import Assistant, Assistants
from core.principal import OPERATOR, Principal
from core.refusals import Forbidden, Missing
from core.run_views import NewRun
from core.store_core import StoreCore
from core.tenant_settings import TenantChange
from schemas import AgentSettings
from state import Stores

ANA = Principal("acme", "ana")


@pytest.fixture
async def agents(core: StoreCore, stores: Stores) -> Agents:
    """Those of `acme`: its own `default` and `mail`, and the graphs `mail` and `news`."""
    change = TenantChange(agent_id="mail", agent={"instructions": "Read it."})
    await core.tenants.change(OPERATOR, "acme", change, check_model=lambda _: None)
    assistants = Assistants(stores.assistants, core.quotas, ("mail", "news"), trail=core.trail)
    return Agents(core.tenants, assistants)


async def test_the_tenants_own_come_first_and_keep_their_ids(agents: Agents) -> None:
    assert [agent.name async for agent in agents.each(ANA)] == ["Assistant", "Assistant", "mail", "news"]
    assert isinstance(await agents.get(ANA, "mail"), AgentSettings)
    assert isinstance(await agents.get(ANA, "news"), Assistant)


async def test_clients_of_langgraph_find_a_graph_by_its_name_before_an_agent(agents: Agents) -> None:
    assert isinstance(await agents.find(ANA, "mail"), Assistant)
    default = await agents.find(ANA, "agent")
    assert isinstance(default, AgentSettings)
    assert default.agent_id == "default"


async def test_an_agent_that_is_not_there_is_missing_whoever_asks(agents: Agents) -> None:
    for asked in (
        agents.get(ANA, "nobody"),
        agents.find(ANA, "nobody"),
        agents.find(ANA, 7),
        agents.prepared(ANA, NewRun("hi", agent_id="nobody")),
    ):
        with pytest.raises(Missing):
            await asked
    with pytest.raises(Forbidden):
        await anext(agents.each(replace(ANA, scopes=("write",))))


async def test_a_message_to_a_graph_becomes_its_input_and_one_to_an_agent_stays(agents: Agents) -> None:
    message = NewRun("hi", agent_id="mail", message_id="m1")
    assert await agents.prepared(ANA, message) == message
    prepared = await agents.prepared(ANA, replace(message, agent_id="news"))
    news = await agents.find(ANA, "news")
    assert prepared.graph is not None
    assert (prepared.agent_id, prepared.graph.graph) == (news.agent_id, "news")
    assert prepared.graph.input == {"messages": [{"role": "user", "content": "hi", "id": "m1"}]}
