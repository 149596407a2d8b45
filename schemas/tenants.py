"""Tenants, their agents and their users, as the store keeps them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field, model_validator

from schemas.base import Stored, Timestamp
from schemas.ids import Id, TenantId

TenantState = Literal["active", "paused", "closed"]
"""`paused`: nothing new begins and nothing works, what is there can be read. `closed`: nobody gets in."""


class ModelSettings(Stored):
    """Which chat model an agent uses. Secrets are not kept here: `api_key_env` names an environment
    variable of the workers."""

    name: str = "auto"
    """`auto` (what the installation found), `rules`, or `provider:model` as LangChain's `init_chat_model` has it."""
    base_url: str | None = None
    api_key_env: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    timeout_seconds: float = Field(default=120, gt=0, le=3600)
    """For one model call."""
    attempts: int = Field(default=3, ge=1, le=10)
    """Model calls tried before the run fails."""
    context_tokens: int = Field(default=16_000, ge=500)
    """Budget of history sent to the model, in tokens (about four characters each)."""
    max_output_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    """Limit of one answer; what is known of the model decides when absent (`connectors.models.model_requests`)."""


class RunLimits(Stored):
    """What one run may use before it ends with a clear failure."""

    turns: int = Field(default=20, ge=1)
    tokens: int = Field(default=400_000, ge=1)
    seconds: float = Field(default=900, gt=0)
    """Working time; waiting for a person does not count."""
    queued_inputs: int = Field(default=100, ge=0)
    """Inputs that may wait behind a run of one thread."""


class ApprovalPolicy(Stored):
    """Which tool calls need the user's approval first. Patterns match names such as `Gmail_SendEmail`."""

    require: Literal["side_effects", "always", "never"] = "side_effects"
    allow: tuple[str, ...] = ()
    """Patterns of tools that need no approval whatever `require` says."""

    def needs_approval(self, name: str, *, side_effects: bool) -> bool:
        """Whether a call of this tool must wait for the user."""
        if self.require == "never" or any(fnmatchcase(name, pattern) for pattern in self.allow):
            return False
        return self.require == "always" or side_effects


class AgentSettings(Stored):
    """One agent of a tenant."""

    agent_id: Id = "default"
    name: str = "Assistant"
    instructions: str = ""
    model: ModelSettings = ModelSettings()
    tools: tuple[str, ...] = ("*",)
    """Patterns of the tools that the agent may use; everything else is refused."""
    approvals: ApprovalPolicy = ApprovalPolicy()
    limits: RunLimits = RunLimits()

    def allows(self, name: str) -> bool:
        """Whether the agent may use this tool."""
        return any(fnmatchcase(name, pattern) for pattern in self.tools)


class IdentityProvider(Stored):
    """An OpenID provider that a tenant's users come from. Its secret is not kept here: `client_secret_env` names an
    environment variable of the gateways."""

    name: Id
    issuer: str = Field(pattern=r"^https?://[^\s?#]+$")
    client_id: str = Field(min_length=1)
    client_secret_env: str | None = None
    audience: str | None = None
    """Audience of access tokens, which is never the client id; none are accepted when absent."""
    user_claim: str = "sub"
    """Which claim identifies somebody at the issuer."""
    scopes: tuple[str, ...] = ("read", "write", "approve")
    """What its users' sessions and tokens cover."""
    allow_domains: tuple[str, ...] = ()
    """Domains of verified addresses whose users are admitted. Nobody is, unless by a rule or by a link of an administrator."""
    allow_groups: tuple[str, ...] = ()
    """Values of `groups_claim` that admit."""
    allow_claims: tuple[str, ...] = ()
    """`CLAIM=VALUE` pairs, each of which admits."""
    groups_claim: str = "groups"


class Tenant(Stored):
    """A paying organisation: the isolation boundary. `version` rises with every change and keys caches."""

    tenant_id: TenantId
    name: str = ""
    created_at: Timestamp
    version: int = Field(default=1, ge=1)
    paused: bool = False
    """Nothing new begins and nothing works while this is set; what is there can be read."""
    closed: bool = False
    """Nobody gets in, and what was begun ends. Set together with `paused`, which is all that older versions know."""
    erasing: bool = False
    """Everything that is kept of it is being erased; it stays closed."""
    time_zone: str | None = None
    """IANA name of the zone that the users are in who have none of their own; UTC when absent."""
    agents: tuple[AgentSettings, ...] = (AgentSettings(),)
    identity_providers: tuple[IdentityProvider, ...] = ()
    graphs: tuple[str, ...] = ("*",)
    """Patterns of the installation's hosted graphs that the tenant may use; the others are not there for it."""

    @model_validator(mode="after")
    def _agents_are_distinct(self) -> Tenant:
        ids = [a.agent_id for a in self.agents]
        if not ids or len(set(ids)) != len(ids):
            raise ValueError("a tenant needs at least one agent, and agent ids must differ")
        return self

    @property
    def state(self) -> TenantState:
        """What its people may do now."""
        return "closed" if self.closed else "paused" if self.paused else "active"

    def may_use(self, graph: str) -> bool:
        """Whether the tenant may use this hosted graph."""
        return any(fnmatchcase(graph, pattern) for pattern in self.graphs)

    def agent(self, agent_id: str) -> AgentSettings | None:
        """The agent of this id."""
        return next((a for a in self.agents if a.agent_id == agent_id), None)


class User(Stored):
    """A person inside a tenant. `approvals_allow` are standing permissions: patterns of tools that
    need no approval."""

    tenant_id: TenantId
    user_id: Id
    name: str = ""
    created_at: Timestamp
    language: str | None = None
    time_zone: str | None = None
    """IANA name; the tenant's when absent."""
    approvals_allow: tuple[str, ...] = ()
    blocked: bool = False
    """No credential of the user counts, and what was begun for them ends."""
    erasing: bool = False
    """Everything that is kept of the user is being erased; nobody is unblocked or added again before that is done."""
    not_before: Timestamp | None = None
    """Credentials that were made before this do not count any more: the user was signed out everywhere."""
