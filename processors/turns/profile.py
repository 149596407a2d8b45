"""Who answers in a thread: the tenant's agent with its model, its tools and the rules on them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

from connectors.arcade import ToolSpec
from processors.turns.answers import Policy, Ruling
from schemas import AgentSettings, Tenant, User

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

log = logging.getLogger("cauce.turns")

OFFERS_KEPT = 1000
"""Agents whose tools are kept put together."""

ModelFor = Callable[[Tenant, AgentSettings], "BaseChatModel"]
"""Gives the chat model of an agent; raises `SettingsError` where its settings cannot work."""


class Tools(Protocol):
    """The catalogue of tools (`connectors.arcade.Catalogue`)."""

    async def tools(self) -> dict[str, ToolSpec]:
        """All tools by their model-facing names."""
        ...


class Users(Protocol):
    """Looks users up."""

    async def get(self, tenant_id: str, user_id: str) -> User | None:
        """The user, when the store has one."""
        ...


@dataclass(frozen=True, slots=True)
class Profile:
    """What a turn is run with. `tools` are JSON schemas in OpenAI's form."""

    agent: AgentSettings
    model: BaseChatModel
    tools: tuple[Mapping[str, Any], ...]
    policy: Policy
    tools_missing: bool = False
    """The catalogue could not be read: the turn goes on without tools."""

    def instructions(self, now: datetime) -> str:
        """The system prompt."""
        parts = [f"You are {self.agent.name}, a personal agent. It is {now:%A, %Y-%m-%d %H:%M} UTC."]
        if self.agent.instructions:
            parts.append(self.agent.instructions)
        if self.tools_missing:
            parts.append("Your tools cannot be reached at the moment; say so when they would be needed.")
        return "\n\n".join(parts)


@dataclass(frozen=True, slots=True)
class _Offered:
    """What an agent may use of a catalogue: kept as long as neither the agent nor the catalogue is read anew."""

    agent: AgentSettings
    catalogue: Mapping[str, ToolSpec]
    tools: Mapping[str, ToolSpec]
    schemas: tuple[Mapping[str, Any], ...]


class Profiles:
    """Puts profiles together. What is read from elsewhere is cached by those who read it."""

    def __init__(self, catalogue: Tools, users: Users, model_for: ModelFor) -> None:
        self._catalogue, self._users, self._model_for = catalogue, users, model_for
        self._offers: OrderedDict[tuple[str, str], _Offered] = OrderedDict()

    async def profile(self, tenant: Tenant, agent: AgentSettings, user_id: str) -> Profile:
        """The profile of an agent for a user. Raises `SettingsError` when the model cannot be made."""
        missing = False
        try:
            catalogue = await self._catalogue.tools()
        except Exception as error:
            log.warning("the tool catalogue cannot be read: %r", error)
            catalogue, missing = {}, True
        user = await self._users.get(tenant.tenant_id, user_id)
        offered = self._offered((tenant.tenant_id, agent.agent_id), agent, catalogue)
        return Profile(
            agent=agent,
            model=self._model_for(tenant, agent),
            tools=offered.schemas,
            policy=policy_of(agent, user, offered.tools),
            tools_missing=missing,
        )

    def _offered(self, key: tuple[str, str], agent: AgentSettings, catalogue: Mapping[str, ToolSpec]) -> _Offered:
        kept = self._offers.get(key)
        if kept is None or kept.agent is not agent or kept.catalogue is not catalogue:
            tools = {name: spec for name, spec in catalogue.items() if agent.allows(name)}
            kept = _Offered(agent, catalogue, tools, tuple(_schema(spec) for spec in tools.values()))
            self._offers[key] = kept
            while len(self._offers) > OFFERS_KEPT:
                self._offers.popitem(last=False)
        self._offers.move_to_end(key)
        return kept


def _schema(spec: ToolSpec) -> Mapping[str, Any]:
    function = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
    return {"type": "function", "function": function}


def policy_of(agent: AgentSettings, user: User | None, tools: Mapping[str, ToolSpec]) -> Policy:
    """The rules on tool calls: what the agent does not have is refused, what has side effects waits for the user."""
    standing = user.approvals_allow if user else ()

    def rule(name: str) -> Ruling:
        spec = tools.get(name)
        if spec is None:
            return Ruling("refuse", f"There is no tool named {name!r} for this agent.")
        if any(fnmatchcase(name, pattern) for pattern in standing):
            return Ruling("run")
        if agent.approvals.needs_approval(name, side_effects=spec.side_effects):
            return Ruling("approval", description=spec.description)
        return Ruling("run")

    return rule
