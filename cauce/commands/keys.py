"""`cauce tenant key`: API keys of a tenant's users."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cauce.commands.common import ConfigOption, DataOption, JsonOption, print_json, settings_of
from cauce.ids import FORM
from cauce.opened_stores import opened_stores
from schemas.clock import utc_now

if TYPE_CHECKING:
    from connectors.gateway.auth.keys import ApiKey, NewKey

key = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys for the gateway.")

TenantArgument = Annotated[str, typer.Argument(help="Id of the tenant.")]


@key.command()
def create(
    tenant_id: TenantArgument,
    user: Annotated[
        str, typer.Option("--user", help="Whose key it is: all that it does is done as this user.")
    ] = "owner",
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    scopes: Annotated[list[str] | None, typer.Option("--scope", help="read, write, approve; repeat it [all].")] = None,
    days: Annotated[float | None, typer.Option(min=0, help="Days until it expires [ten years].")] = None,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a key and print it. It is shown this once and kept nowhere.

    Example: `cauce tenant key create acme --user ana --name laptop --scope read --scope write`
    """
    import asyncio

    from connectors.gateway.auth.keys import NEVER, ApiKeys
    from core.principal import SCOPES
    from schemas import SettingsError, is_id

    settings = settings_of(data, config)
    if not is_id(user):
        raise SettingsError(f"{user!r} cannot be the id of a user: it may have {FORM}")
    if wrong := [s for s in scopes or () if s not in SCOPES]:
        raise SettingsError(f"there is no scope {wrong[0]!r}; there are {', '.join(SCOPES)}")

    async def make() -> NewKey:
        async with opened_stores(settings) as stores:
            if await stores.directory.tenant(tenant_id) is None:
                raise SettingsError(f"there is no tenant {tenant_id!r}; see: cauce tenant list")
            lifetime = NEVER if days is None else timedelta(days=days)
            return await ApiKeys(stores.credentials).create(
                tenant_id, user, name=name, scopes=scopes or SCOPES, lifetime=lifetime
            )

    made = asyncio.run(make())
    if as_json:
        print_json({"key": made.text, "key_id": made.key.key_id, "user": user, "expires_at": str(made.key.expires_at)})
    else:
        typer.echo(made.text)


@key.command("list")
def list_keys(
    tenant_id: TenantArgument, as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None
) -> None:
    """List a tenant's keys, without their secrets."""
    import asyncio

    from connectors.gateway.auth.keys import ApiKeys

    settings = settings_of(data, config)

    async def run() -> list[ApiKey]:
        async with opened_stores(settings) as stores:
            return await ApiKeys(stores.credentials).list(tenant_id)

    found = asyncio.run(run())
    if as_json:
        print_json([k.model_dump(mode="json", exclude={"secret_hash"}) for k in found])
        return
    for k in found:
        left = "expired" if k.expires_at < utc_now() else f"until {k.expires_at:%Y-%m-%d}"
        typer.echo(f"{k.key_id}  {k.user_id:20} {left:18} {','.join(k.scopes):20} {k.name}")


@key.command()
def revoke(
    tenant_id: TenantArgument,
    key_id: Annotated[str, typer.Argument(help="As `list` shows it.")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """End a key. Gateways refuse it within five seconds."""
    import asyncio

    from connectors.gateway.auth.keys import ApiKeys
    from schemas import NotFound

    settings = settings_of(data, config)

    async def run() -> bool:
        async with opened_stores(settings) as stores:
            return await ApiKeys(stores.credentials).revoke(tenant_id, key_id)

    if not asyncio.run(run()):
        raise NotFound(f"the tenant {tenant_id!r} has no key {key_id!r}")
    typer.echo(f"revoked {key_id}")
