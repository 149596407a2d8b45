"""`cauce tenant`: tenants and their agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cauce.commands.common import ConfigOption, DataOption, JsonOption, console, print_json, settings_of
from cauce.commands.families import Family
from cauce.commands.keys import key
from cauce.commands.logins import login
from cauce.commands.users import zone_name
from cauce.opened_stores import opened_stores
from schemas.clock import utc_now

if TYPE_CHECKING:
    from schemas import AgentSettings, Tenant

tenant = typer.Typer(no_args_is_help=True, help="Add, show and change tenants and their agents.")
tenant.add_typer(key, name="key")
tenant.add_typer(login, name="login")

TenantArgument = Annotated[str, typer.Argument(help="Id of the tenant.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(tenant, name="tenant")


FAMILY = Family(register, rank=50)


@tenant.command()
def add(
    tenant_id: TenantArgument,
    name: Annotated[str, typer.Option(help="Name for people.")] = "",
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Add a tenant with one agent that has the installation's model and all tools.

    Example: `cauce tenant add acme --name "Acme Inc."`
    """
    import asyncio

    from pydantic import ValidationError

    from schemas import SYSTEM_TENANT, SettingsError, Tenant

    settings = settings_of(data, config)
    try:
        made = Tenant(tenant_id=tenant_id, name=name or tenant_id, created_at=utc_now())
    except ValidationError as error:
        raise SettingsError(
            f"{tenant_id!r} cannot be a tenant's id: use a-z, 0-9, _ and -, at most 64 of them"
        ) from error
    if tenant_id == SYSTEM_TENANT:
        raise SettingsError(f"{SYSTEM_TENANT!r} is the system's own")

    async def run() -> bool:
        async with opened_stores(settings) as stores:
            return await stores.directory.put_tenant(made, expected_version=0)

    if not asyncio.run(run()):
        raise SettingsError(f"the tenant {tenant_id!r} exists already; change it with: cauce tenant set {tenant_id}")
    typer.echo(f"added {tenant_id}")


@tenant.command("list")
def list_tenants(as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None) -> None:
    """List all tenants."""
    import asyncio

    settings = settings_of(data, config)

    async def run() -> list[Tenant]:
        async with opened_stores(settings) as stores:
            return await stores.directory.tenants()

    found = asyncio.run(run())
    if as_json:
        print_json([t.model_dump(mode="json") for t in found])
        return
    for t in found:
        typer.echo(f"{t.tenant_id:20} {t.name}{'  (paused)' if t.paused else ''}")


@tenant.command()
def show(
    tenant_id: TenantArgument, as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None
) -> None:
    """Show a tenant and its agents."""
    import asyncio

    settings = settings_of(data, config)

    async def run() -> Tenant:
        async with opened_stores(settings) as stores:
            return _known(await stores.directory.tenant(tenant_id), tenant_id)

    found = asyncio.run(run())
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    out = console()
    paused = "  [yellow]paused[/]" if found.paused else ""
    zone = f"  {found.time_zone}" if found.time_zone else ""
    out.print(f"[bold]{found.tenant_id}[/] {found.name} [dim]version {found.version}[/]{zone}{paused}")
    for agent in found.agents:
        out.print(f"\nagent [bold]{agent.agent_id}[/] ({agent.name})")
        model = agent.model
        out.print(
            f"  model         {model.name}, {model.timeout_seconds:g} s, {model.context_tokens:,} tokens of history"
        )
        if model.base_url or model.api_key_env:
            where, key = model.base_url or "its provider", model.api_key_env or "of the provider's variable"
            out.print(f"                at {where}, key {key}", markup=False)
        out.print(f"  instructions  {agent.instructions or '-'}", markup=False)
        out.print(f"  tools         {', '.join(agent.tools)}", markup=False)
        allowed = ", ".join(agent.approvals.allow) or "none"
        out.print(f"  approvals     {agent.approvals.require}; without approval: {allowed}", markup=False)
        limits = agent.limits
        out.print(f"  limits a run  {limits.turns} turns, {limits.tokens:,} tokens, {limits.seconds:g} s")


@tenant.command("set")
def set_tenant(
    tenant_id: TenantArgument,
    name: Annotated[str | None, typer.Option(help="Name for people.")] = None,
    paused: Annotated[bool | None, typer.Option("--pause/--resume", help="Refuse inputs, or take them again.")] = None,
    agent: Annotated[str, typer.Option(help="Which agent the options below change; made when new.")] = "default",
    model: Annotated[str | None, typer.Option(help="auto, rules, or provider:model such as ollama:llama3.2.")] = None,
    model_url: Annotated[str | None, typer.Option(help="Base URL of the model's server.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Variable of the workers with the model's key; '' for none.")
    ] = None,
    instructions: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    tools: Annotated[list[str] | None, typer.Option("--tool", help="Pattern of allowed tools; repeat it.")] = None,
    approvals: Annotated[str | None, typer.Option(help="side_effects, always or never.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="Pattern of tools without approval; repeat it.")] = None,
    max_turns: Annotated[int | None, typer.Option(help="Model calls in one run.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens in one run.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Seconds of work in one run.")] = None,
    max_output_tokens: Annotated[int | None, typer.Option(help="Tokens of one answer of the model.")] = None,
    context_tokens: Annotated[int | None, typer.Option(help="Tokens of history that the model is sent.")] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Of users who have none of their own, such as Europe/Madrid.")
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Change a tenant or one of its agents; what is not named stays. Workers follow within seconds.

    Example: `cauce tenant set acme --model openai:gpt-5-mini --api-key-env ACME_KEY --tool 'Gmail_*' --allow 'Gmail_List*'`
    """
    import asyncio

    from pydantic import ValidationError

    from schemas import SettingsError

    settings = settings_of(data, config)
    changes = {
        "model": {
            "name": model,
            "base_url": model_url,
            "api_key_env": api_key_env,
            "max_output_tokens": max_output_tokens,
            "context_tokens": context_tokens,
        },
        "approvals": {"require": approvals, "allow": tuple(allow) if allow else None},
        "limits": {"turns": max_turns, "tokens": max_tokens, "seconds": max_seconds},
        "instructions": instructions,
        "tools": tuple(tools) if tools else None,
    }

    before: Tenant | None = None

    async def run() -> Tenant:
        nonlocal before
        async with opened_stores(settings) as stores:
            found = before = _known(await stores.directory.tenant(tenant_id), tenant_id)
            try:
                changed = _changed(found, agent, changes, name=name, paused=paused, time_zone=time_zone)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                raise SettingsError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
            if not await stores.directory.put_tenant(changed, expected_version=found.version):
                raise SettingsError("somebody else changed the tenant at the same moment; try again")
            return changed

    changed = asyncio.run(run())
    if left := _left_behind(before, changed, agent):
        typer.echo(f"{' and '.join(left)} of the model before no longer apply and were taken out")
    typer.echo(f"changed {changed.tenant_id}, version {changed.version}")


def _known(found: Tenant | None, tenant_id: str) -> Tenant:
    from schemas import NotFound

    if found is None:
        raise NotFound(f"there is no tenant {tenant_id!r}; add it with: cauce tenant add {tenant_id}")
    return found


_OF_THE_SERVER = {"base_url": "--model-url", "api_key_env": "--api-key-env"}


def _check_model(old: dict[str, Any], change: dict[str, Any]) -> None:
    """Takes out of the old settings what belongs to another provider. Raises `SettingsError` for what cannot be."""
    from connectors.models import check_model_name, provider_of
    from schemas import SettingsError

    name = change["name"] or old["name"]
    if change["name"] is not None:
        check_model_name(name := change["name"])
        if provider_of(name) != provider_of(old["name"]):
            old |= dict.fromkeys(_OF_THE_SERVER)
    given = [option for field, option in _OF_THE_SERVER.items() if change[field]]
    if name == "rules" and given:
        raise SettingsError(f"{' and '.join(given)}: the model rules asks no server; name the model, too, with --model")


def _left_behind(before: Tenant | None, after: Tenant, agent_id: str) -> list[str]:
    old, new = before and before.agent(agent_id), after.agent(agent_id)
    if not (old and new) or old.model.name == new.model.name:
        return []
    return [name for name in _OF_THE_SERVER if getattr(old.model, name) and getattr(new.model, name) is None]


def _changed(
    found: Tenant,
    agent_id: str,
    changes: dict[str, Any],
    *,
    name: str | None,
    paused: bool | None,
    time_zone: str | None,
) -> Tenant:
    """The tenant with the changes, checked as a whole."""
    from schemas import AgentSettings, Tenant

    old: AgentSettings = found.agent(agent_id) or AgentSettings(agent_id=agent_id)
    fields = old.model_dump()
    _check_model(fields["model"], changes["model"])
    for option, value in changes.items():
        if isinstance(value, dict):
            fields[option] |= {k: v for k, v in value.items() if v is not None}
        elif value is not None:
            fields[option] = value
    agent = AgentSettings.model_validate(fields)
    agents = [agent if a.agent_id == agent_id else a for a in found.agents]
    if found.agent(agent_id) is None and fields != AgentSettings(agent_id=agent_id).model_dump():
        agents.append(agent)
    changed = found.model_dump() | {"agents": [a.model_dump() for a in agents], "version": found.version + 1}
    if name is not None:
        changed["name"] = name
    if paused is not None:
        changed["paused"] = paused
    if time_zone is not None:
        changed["time_zone"] = zone_name(time_zone)
    return Tenant.model_validate(changed)
