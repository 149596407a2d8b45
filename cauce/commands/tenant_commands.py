"""`cauce tenant`: tenants and their agents."""

from __future__ import annotations

from typing import Annotated

import typer

from cauce.commands.common import (
    ConfigOption,
    DataOption,
    JsonOption,
    TenantArgument,
    YesOption,
    confirmed,
    console,
    erased,
    fields_as_options,
    on_stores,
    print_json,
    print_models,
    settings_of,
)
from cauce.commands.families import Family
from cauce.commands.key_commands import key
from cauce.commands.logins import login
from cauce.plain_output import say_line

tenant = typer.Typer(no_args_is_help=True, help="Add, show and change tenants and their agents.")
tenant.add_typer(key, name="key")
tenant.add_typer(login, name="login")

_OPTIONS = {
    "agent_id": "--agent",
    "model.name": "--model",
    "model.base_url": "--model-url",
    "model.api_key_env": "--api-key-env",
    "model.max_output_tokens": "--max-output-tokens",
    "model.context_tokens": "--context-tokens",
    "approvals.require": "--approvals",
    "limits.turns": "--max-turns",
    "limits.tokens": "--max-tokens",
    "limits.seconds": "--max-seconds",
}
"""The options, by field of an agent's settings."""


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
    from core.principal import OPERATOR

    on_stores(settings_of(data, config), lambda core: core.tenants.add(OPERATOR, tenant_id, name=name))
    say_line(f"added {tenant_id}")


@tenant.command("list")
def list_tenants(as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None) -> None:
    """List all tenants."""
    from core.principal import OPERATOR

    found = on_stores(settings_of(data, config), lambda core: core.tenants.all(OPERATOR))
    print_models(
        found, lambda t: f"{t.tenant_id:20} {t.name}{'' if t.state == 'active' else f'  ({t.state})'}", as_json=as_json
    )


@tenant.command()
def show(
    tenant_id: TenantArgument, as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None
) -> None:
    """Show a tenant and its agents."""
    from core.principal import OPERATOR

    found = on_stores(settings_of(data, config), lambda core: core.tenants.get(OPERATOR, tenant_id))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    from cauce.screen import one_line

    out = console()
    paused = "" if found.state == "active" else f"  {found.state}"
    version, zone = f" version {found.version}", f"  {found.time_zone}" if found.time_zone else ""
    out.print(one_line((found.tenant_id, "bold"), f" {found.name}", (version, "dim"), zone, (paused, "yellow")))
    out.print(f"hosted graphs   {', '.join(found.graphs) or 'none'}")
    for agent in found.agents:
        out.print()
        out.print(one_line("agent ", (agent.agent_id, "bold"), f" ({agent.name})"))
        model = agent.model
        out.print(
            f"  model         {model.name}, {model.timeout_seconds:g} s, {model.context_tokens:,} tokens of history"
        )
        if model.base_url or model.api_key_env:
            where, key = model.base_url or "its provider", model.api_key_env or "of the provider's variable"
            out.print(f"                at {where}, key {key}")
        out.print(f"  instructions  {agent.instructions or '-'}")
        out.print(f"  tools         {', '.join(agent.tools)}")
        allowed = ", ".join(agent.approvals.allow) or "none"
        out.print(f"  approvals     {agent.approvals.require}; without approval: {allowed}")
        limits = agent.limits
        out.print(f"  limits a run  {limits.turns} turns, {limits.tokens:,} tokens, {limits.seconds:g} s")


@tenant.command()
def pause(tenant_id: TenantArgument, data: DataOption = None, config: ConfigOption = None) -> None:
    """Let a tenant's people read, and nothing else, until it is resumed. What is under way is held, and continues then."""
    from core.principal import OPERATOR

    on_stores(settings_of(data, config), lambda core: core.ends.pause(OPERATOR, tenant_id))
    say_line(f"paused {tenant_id}; everywhere within 10 s")


@tenant.command()
def resume(tenant_id: TenantArgument, data: DataOption = None, config: ConfigOption = None) -> None:
    """Undo `pause` or `close`."""
    from core.principal import OPERATOR

    on_stores(settings_of(data, config), lambda core: core.ends.resume(OPERATOR, tenant_id))
    say_line(f"resumed {tenant_id}")


@tenant.command()
def close(
    tenant_id: TenantArgument, yes: YesOption = False, data: DataOption = None, config: ConfigOption = None
) -> None:
    """Let nobody of a tenant in, and end everything that was begun. What is kept stays; `erase` removes it."""
    from core.principal import OPERATOR

    confirmed(f"End everything that runs and waits in {tenant_id}, and let nobody in?", yes)
    on_stores(settings_of(data, config), lambda core: core.ends.close(OPERATOR, tenant_id))
    say_line(f"closed {tenant_id}; everywhere within 10 s")


@tenant.command()
def erase(
    tenant_id: TenantArgument,
    yes: YesOption = False,
    wait: Annotated[bool, typer.Option(help="Show how far it is until it is done.")] = True,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Erase all that is kept of a tenant and its users. Gateways and workers do it, also after a crash."""
    confirmed(f"Erase everything of the tenant {tenant_id} and all its users, for good?", yes)
    erased(settings_of(data, config), tenant_id, None, wait=wait)


@tenant.command("set")
def set_tenant(
    tenant_id: TenantArgument,
    name: Annotated[str | None, typer.Option(help="Name for people.")] = None,
    paused: Annotated[
        bool | None, typer.Option("--pause/--resume", help="Reject inputs, or accept them again.")
    ] = None,
    agent: Annotated[str, typer.Option(help="Which agent the options below change; created if new.")] = "default",
    model: Annotated[str | None, typer.Option(help="auto, rules, or provider:model such as ollama:llama3.2.")] = None,
    model_url: Annotated[str | None, typer.Option(help="Base URL of the model's server.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable of the workers that holds the model's key; '' for none.")
    ] = None,
    instructions: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    tools: Annotated[list[str] | None, typer.Option("--tool", help="Pattern of allowed tools; repeat it.")] = None,
    approvals: Annotated[str | None, typer.Option(help="side_effects, always or never.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="Pattern of tools without approval; repeat it.")] = None,
    max_turns: Annotated[int | None, typer.Option(help="Model calls in one run.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens in one run.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Seconds of model and tool work in one run.")] = None,
    max_output_tokens: Annotated[int | None, typer.Option(help="Tokens of one answer of the model.")] = None,
    context_tokens: Annotated[int | None, typer.Option(help="Tokens of history sent to the model.")] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Time zone of users without their own, such as Europe/Madrid.")
    ] = None,
    graphs: Annotated[
        list[str] | None, typer.Option("--graph", help="Pattern of hosted graphs it may use; repeat it, '' for none.")
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Change a tenant or one of its agents; other settings stay unchanged. Workers follow within seconds.

    Example: `cauce tenant set acme --model openai:gpt-5-mini --api-key-env ACME_KEY --tool 'Gmail_*' --allow 'Gmail_List*'`
    """
    from connectors.models import check_model_name
    from core.principal import OPERATOR
    from core.tenant_settings import TenantChange

    change = TenantChange(
        name=name,
        paused=paused,
        time_zone=time_zone,
        graphs=tuple(filter(None, graphs)) if graphs else None,
        agent_id=agent,
        agent={
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
        },
    )
    with fields_as_options(_OPTIONS):
        changed, taken_out = on_stores(
            settings_of(data, config),
            lambda core: core.tenants.change(OPERATOR, tenant_id, change, check_model=check_model_name),
        )
    if taken_out:
        say_line(f"{' and '.join(taken_out)} of the previous model no longer apply and were removed")
    say_line(f"changed {changed.tenant_id}, version {changed.version}")
