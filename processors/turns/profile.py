"""Who answers in a thread: the tenant's agent with its model, its tools and the rules on them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

from connectors.models import model_identity
from connectors.toolset import ToolSpec
from connectors.toolsets import Toolsets
from processors.turns.model_answers import LONGEST_NAME
from processors.turns.model_history import model_facing_name
from schemas import AgentSettings, Tenant, User, time_in, zone_of
from schemas.common.recent import Recent
from threads.context_window import CHARACTERS_PER_TOKEN
from threads.enclosure import RULES
from threads.leg_ends import Policy, Ruling

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

log = logging.getLogger("cauce.turns")

MOST_TOOLS = 128
"""Tools that a model is offered at most: OpenAI and those who took over its format refuse a request with more."""
OFFERS_KEPT = 1000
"""Agents whose tools are kept put together."""

ModelFor = Callable[[Tenant, AgentSettings], "BaseChatModel"]
"""Gives the chat model of an agent; raises `SettingsError` where its settings cannot work."""


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
    """A toolset could not be read: the turn continues without its tools."""
    model_key: str = ""
    """Names the model, see `provider_parts`."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The tools' names by those that the model knows them by, where the two differ."""
    tool_tokens: int = 0
    """Estimated tokens of the tools' schemas."""
    notice: str = ""
    """What the user should know of the agent's settings, such as that it has more tools than a model takes."""
    zone: tzinfo = UTC
    """In which the user's days begin."""

    def instructions(self, now: datetime) -> str:
        """The system prompt. The weekday, date and time in it are the user's, and it names their zone."""
        parts = [f"You are {self.agent.name}, a personal agent. It is {time_in(self.zone, now)}."]
        if self.agent.instructions:
            parts.append(self.agent.instructions)
        if self.tools_missing:
            which = "Some of your tools" if self.tools else "Your tools"
            parts.append(f"{which} cannot be reached at the moment; say so when they would be needed.")
        parts.append(RULES)
        return "\n\n".join(parts)


@dataclass(frozen=True, slots=True)
class _Offered:
    """The tools that an agent may use; cached until the agent or the tools are refreshed."""

    agent: AgentSettings
    all_tools: Mapping[str, ToolSpec]
    tools: Mapping[str, ToolSpec]
    schemas: tuple[Mapping[str, Any], ...]
    names: Mapping[str, str]
    tokens: int
    notice: str


class Profiles:
    """Puts profiles together. What is read from elsewhere is cached by those who read it."""

    def __init__(self, toolsets: Toolsets, users: Users, model_for: ModelFor) -> None:
        self._toolsets, self._users, self._model_for = toolsets, users, model_for
        self._offers: Recent[tuple[str, str], _Offered] = Recent(OFFERS_KEPT)

    async def profile(
        self, tenant: Tenant, agent: AgentSettings, user_id: str, time_zone: str | None = None
    ) -> Profile:
        """The profile of an agent for a user. Raises `SettingsError` when the model cannot be made."""
        offer = await self._toolsets.offer()
        user = await self._users.get(tenant.tenant_id, user_id)
        offered = self._offered((tenant.tenant_id, agent.agent_id), agent, offer.tools)
        model = self._model_for(tenant, agent)
        return Profile(
            agent=agent,
            model=model,
            tools=offered.schemas,
            policy=policy_of(agent, user, offered.tools),
            tools_missing=bool(offer.missing),
            model_key=f"{agent.model.name}/{model_identity(model)}",
            names=offered.names,
            tool_tokens=offered.tokens,
            notice=offered.notice,
            zone=zone_of(time_zone, user.time_zone if user else None, tenant.time_zone),
        )

    def _offered(self, key: tuple[str, str], agent: AgentSettings, all_tools: Mapping[str, ToolSpec]) -> _Offered:
        kept = self._offers.get(key)
        if kept is None or kept.agent is not agent or kept.all_tools is not all_tools:
            kept = self._offers[key] = _offer(agent, all_tools)
            if kept.notice:
                log.warning("agent %s of %s: %s", agent.agent_id, key[0], kept.notice)
        self._offers.touch(key)
        return kept


def offered_tools(agent: AgentSettings, all_tools: Mapping[str, ToolSpec]) -> tuple[dict[str, ToolSpec], str]:
    """The tools that the agent may use, in their order and as many as models take, and a notice of those left out."""
    allowed = {name: spec for name, spec in all_tools.items() if agent.allows(name)}
    named = {name: spec for name, spec in allowed.items() if 0 < len(name) <= LONGEST_NAME}
    notices = []
    if len(named) > MOST_TOOLS:
        notices.append(f"{len(named)} tools, the model takes {MOST_TOOLS}: name fewer with --tool.")
    if unnamed := sorted(set(allowed) - set(named)):
        notices.append(
            f"{len(unnamed)} tools have names that are too long, such as {unnamed[0][:60]}…: they are left out."
        )
    return dict(list(named.items())[:MOST_TOOLS]), " ".join(notices)


def _offer(agent: AgentSettings, all_tools: Mapping[str, ToolSpec]) -> _Offered:
    tools, notice = offered_tools(agent, all_tools)
    schemas = tuple(_schema(spec) for spec in tools.values())
    names = {facing: name for name in tools if (facing := model_facing_name(name)) != name}
    tokens = sum(len(json.dumps(schema, default=str)) for schema in schemas) // CHARACTERS_PER_TOKEN
    return _Offered(agent, all_tools, tools, schemas, names, tokens, notice)


def _schema(spec: ToolSpec) -> Mapping[str, Any]:
    function = {
        "name": model_facing_name(spec.name),
        "description": spec.description,
        "parameters": spec.parameters,
    }
    return {"type": "function", "function": function}


def policy_of(agent: AgentSettings, user: User | None, tools: Mapping[str, ToolSpec]) -> Policy:
    """The rules on tool calls: what the agent does not have is refused, what has side effects requires approval."""
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
