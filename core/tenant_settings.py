"""Tenants and their agents: looked up for whoever calls, and changed by their administrators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from core.admission import check_provider
from core.audit_writer import AuditWriter
from core.principal import Principal
from core.refusals import Conflict, Forbidden, Invalid, invalid, known_time_zone, not_active, not_found
from schemas import SYSTEM_TENANT, Action, AgentSettings, IdentityProvider, Tenant, is_tenant_id
from schemas.common.clock import utc_now
from schemas.common.recent import TtlCache
from state import Directory

KNOWN_SECONDS = 5.0
"""How long a caller's tenant is known without asking the store."""
OF_THE_SERVER = ("base_url", "api_key_env")
"""Settings of a model that belong to its provider's server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantChange:
    """What to change about a tenant and one of its agents; None leaves it as it is."""

    name: str | None = None
    paused: bool | None = None
    time_zone: str | None = None
    """IANA name; an empty text removes it."""
    graphs: tuple[str, ...] | None = None
    """Patterns of the hosted graphs that the tenant may use."""
    agent_id: str = "default"
    agent: Mapping[str, Any] = field(default_factory=dict)
    """New values by fields of `AgentSettings`; a mapping changes only the fields it names, and None changes nothing. A new agent
    is created, unless nothing is given for it."""


class Tenants:
    """The tenants that the installation's directory has."""

    def __init__(self, directory: Directory, trail: AuditWriter) -> None:
        self._directory, self._trail = directory, trail
        self._known: TtlCache[Tenant] = TtlCache(ttl=KNOWN_SECONDS)

    async def of(self, caller: Principal) -> Tenant:
        """The caller's tenant, at most `KNOWN_SECONDS` old.

        Raises `Forbidden` when it is closed or gone; paused, unless the caller was admitted to read in it.
        """
        tenant = await self._known.get(caller.tenant_id, lambda: self._of(caller.tenant_id))
        if tenant.state == "closed" or (tenant.state == "paused" and caller.tenant_state != "paused"):
            raise not_active(tenant.state)
        return tenant

    async def all(self, by: Principal) -> list[Tenant]:
        """All tenants of the installation, for its operator."""
        by.require_over(SYSTEM_TENANT)
        return await self._directory.tenants()

    async def get(self, by: Principal, tenant_id: str) -> Tenant:
        """A tenant. Raises `Missing`."""
        by.require_over(tenant_id)
        found = await self._directory.tenant(tenant_id)
        if found is None:
            raise not_found("tenant", tenant_id)
        return found

    async def add(self, by: Principal, tenant_id: str, *, name: str = "") -> Tenant:
        """A new tenant, whose one agent has the installation's model and all tools. Raises `Conflict` when the id is taken."""
        by.require_over(SYSTEM_TENANT)
        if not is_tenant_id(tenant_id):
            detail = f"{tenant_id!r} cannot be a tenant's id: use a-z, 0-9, _ and -, at most 64 of them."
            raise Invalid("invalid", detail)
        if tenant_id == SYSTEM_TENANT:
            raise Invalid("invalid", f"{SYSTEM_TENANT!r} is the system's own.")
        made = Tenant(tenant_id=tenant_id, name=name or tenant_id, created_at=utc_now())
        if not await self._directory.put_tenant(made, expected_version=0):
            raise Conflict("tenant_exists", f"The tenant {tenant_id!r} exists already.")
        await self._trail.write(by, Action.TENANT_ADDED, tenant_id=tenant_id)
        return made

    async def ensure(self, by: Principal, tenant_id: str) -> None:
        """Creates the tenant unless it exists."""
        by.require_over(SYSTEM_TENANT)
        if await self._directory.tenant(tenant_id) is None:
            with suppress(Conflict):  # somebody else has made it at the same moment
                await self.add(by, tenant_id)

    async def change(
        self, by: Principal, tenant_id: str, change: TenantChange, *, check_model: Callable[[str], None]
    ) -> tuple[Tenant, tuple[str, ...]]:
        """The changed tenant, and the settings of the agent's model that were removed because they belonged to another provider.

        `check_model` raises `SettingsError` for a model's name that no worker understands. Raises `Invalid` for what does not
        fit, and `Conflict` where somebody else changed the tenant meanwhile.
        """
        found = await self.get(by, tenant_id)
        try:
            changed = changed_tenant(found, change, check_model)
        except ValidationError as error:
            raise invalid(error.errors()) from error
        await self._put(changed, found)
        for action, details in _differences(found, changed, change.agent_id):
            await self._trail.write(by, action, tenant_id=tenant_id, details=details)
        return changed, _taken_out(found.agent(change.agent_id), changed.agent(change.agent_id))

    async def put_provider(self, by: Principal, tenant_id: str, provider: IdentityProvider) -> None:
        """Lets users sign in with an OpenID provider; one of the same name is replaced. Raises `Invalid`."""
        check_provider(provider)
        found = await self.get(by, tenant_id)
        others = tuple(p for p in found.identity_providers if p.name != provider.name)
        changes = {"identity_providers": (*others, provider), "version": found.version + 1}
        await self._put(found.model_copy(update=changes), found)
        details = provider.model_dump(mode="json", exclude={"name"})
        await self._trail.write(by, Action.PROVIDER_SET, tenant_id=tenant_id, subject=provider.name, details=details)

    async def remove_provider(self, by: Principal, tenant_id: str, name: str) -> None:
        """Nobody signs in with the provider of this name any more."""
        found = await self.get(by, tenant_id)
        others = tuple(p for p in found.identity_providers if p.name != name)
        await self._put(found.model_copy(update={"identity_providers": others, "version": found.version + 1}), found)
        await self._trail.write(by, Action.PROVIDER_REMOVED, tenant_id=tenant_id, subject=name)

    async def _of(self, tenant_id: str) -> Tenant:
        found = await self._directory.tenant(tenant_id)
        if found is None:
            raise Forbidden("tenant_gone", "The tenant of this credential does not exist any more.")
        return found

    async def _put(self, changed: Tenant, found: Tenant) -> None:
        if not await self._directory.put_tenant(changed, expected_version=found.version):
            raise Conflict("changed_meanwhile", "Somebody else changed the tenant at the same moment; try again.")


def changed_tenant(found: Tenant, change: TenantChange, check_model: Callable[[str], None]) -> Tenant:
    """The tenant with the changes, checked as a whole. Raises `Invalid`, and `ValidationError` for what does not fit."""
    agent_id, new = change.agent_id, AgentSettings(agent_id=change.agent_id)
    fields = (found.agent(agent_id) or new).model_dump()
    for name, value in change.agent.items():
        if isinstance(value, Mapping):
            given = {k: v for k, v in value.items() if v is not None}
            fields[name] |= _of_the_model(fields[name], given, check_model) if name == "model" else given
        elif value is not None:
            fields[name] = value
    agent = AgentSettings.model_validate(fields)
    agents = [agent if a.agent_id == agent_id else a for a in found.agents]
    if found.agent(agent_id) is None and fields != new.model_dump():
        agents.append(agent)
    changed = found.model_dump() | {"agents": [a.model_dump() for a in agents], "version": found.version + 1}
    changed |= {name: value for name in ("name", "paused", "graphs") if (value := getattr(change, name)) is not None}
    if change.time_zone is not None:
        changed["time_zone"] = known_time_zone(change.time_zone) if change.time_zone else None
    return Tenant.model_validate(changed)


def _differences(before: Tenant, after: Tenant, agent_id: str) -> Iterator[tuple[Action, dict[str, Any]]]:
    """What a change was, for the audit trail: names of fields, and policies whole. Instructions may be long and private."""
    names = ("name", "paused", "graphs", "time_zone")
    if changed := [name for name in names if getattr(before, name) != getattr(after, name)]:
        yield Action.TENANT_CHANGED, {"changed": changed}
    old, new = before.agent(agent_id), after.agent(agent_id)
    if new is None or new == old:
        return
    old = old or AgentSettings(agent_id=agent_id)
    fields = [name for name in AgentSettings.model_fields if getattr(old, name) != getattr(new, name)]
    yield Action.AGENT_CHANGED, {"agent": agent_id, "changed": fields}
    if {"tools", "approvals"} & set(fields):
        policies = {
            name: {"tools": list(one.tools), "approvals": one.approvals.model_dump(mode="json")}
            for name, one in (("old", old), ("new", new))
        }
        yield Action.POLICY_CHANGED, {"agent": agent_id, **policies}


def _of_the_model(old: Mapping[str, Any], given: dict[str, Any], check_model: Callable[[str], None]) -> dict[str, Any]:
    """The changes to a model's settings. With another provider, what belongs to the previous one is removed."""
    name, gone = given.get("name", old["name"]), dict[str, Any]()
    if "name" in given:
        check_model(name)
        if _provider(name) != _provider(old["name"]):
            gone = dict.fromkeys(OF_THE_SERVER)
    if name == "rules" and (wrong := [field for field in OF_THE_SERVER if given.get(field)]):
        detail = "the model rules asks no server; name the model, too"
        raise invalid([{"loc": ("model", field), "msg": detail} for field in wrong])
    return gone | given


def _provider(name: str) -> str:
    """What a key and a server belong to: the part before the colon."""
    return name.partition(":")[0]


def _taken_out(before: AgentSettings | None, after: AgentSettings | None) -> tuple[str, ...]:
    if before is None or after is None or before.model.name == after.model.name:
        return ()
    return tuple(n for n in OF_THE_SERVER if getattr(before.model, n) and getattr(after.model, n) is None)
