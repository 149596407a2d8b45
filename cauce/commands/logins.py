"""`cauce tenant login`: OpenID providers that a tenant's users come from."""

from __future__ import annotations

from typing import Annotated

import typer

from cauce.commands.common import ConfigOption, DataOption, JsonOption, print_json, settings_of
from cauce.opened_stores import opened_stores

login = typer.Typer(no_args_is_help=True, help="Let users come from an OpenID provider, such as Google or Microsoft.")

TenantArgument = Annotated[str, typer.Argument(help="Id of the tenant.")]
NameArgument = Annotated[str, typer.Argument(help="Name of the provider here; part of its login address.")]


@login.command()
def add(
    tenant_id: TenantArgument,
    name: NameArgument,
    issuer: Annotated[str, typer.Option(help="As its tokens name it, such as https://accounts.google.com.")],
    client_id: Annotated[str, typer.Option(help="What the provider calls us.")],
    client_secret_env: Annotated[str | None, typer.Option(help="Variable of the gateways with the secret.")] = None,
    audience: Annotated[str | None, typer.Option(help="Of access tokens [the client id].")] = None,
    user_claim: Annotated[str, typer.Option(help="Claim that names the user: sub, or email.")] = "sub",
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Add a provider, or replace the one of this name. Its redirect address is GATEWAY/auth/TENANT/NAME/callback.

    Google: `--issuer https://accounts.google.com`. Microsoft: `--issuer https://login.microsoftonline.com/TENANT_ID/v2.0`.
    """
    import asyncio

    from pydantic import ValidationError

    from schemas import IdentityProvider, SettingsError, Tenant

    settings = settings_of(data, config)
    try:
        provider = IdentityProvider(
            name=name,
            issuer=issuer,
            client_id=client_id,
            client_secret_env=client_secret_env,
            audience=audience,
            user_claim=user_claim,
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise SettingsError(f"{problem['loc'][0]}: {problem['msg']}") from error

    def changed(tenant: Tenant) -> Tenant:
        others = tuple(p for p in tenant.identity_providers if p.name != name)
        return tenant.model_copy(update={"identity_providers": (*others, provider), "version": tenant.version + 1})

    async def run() -> None:
        async with opened_stores(settings) as stores:
            tenant = await stores.directory.tenant(tenant_id)
            if tenant is None:
                raise SettingsError(f"there is no tenant {tenant_id!r}; see: cauce tenant list")
            if not await stores.directory.put_tenant(changed(tenant), expected_version=tenant.version):
                raise SettingsError("somebody else changed the tenant at the same moment; try again")

    asyncio.run(run())
    typer.echo(f"added {name}: users sign in at GATEWAY/auth/{tenant_id}/{name}/login")


@login.command("list")
def list_providers(
    tenant_id: TenantArgument, as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None
) -> None:
    """List a tenant's providers."""
    import asyncio

    from schemas import IdentityProvider, SettingsError

    settings = settings_of(data, config)

    async def run() -> tuple[IdentityProvider, ...]:
        async with opened_stores(settings) as stores:
            tenant = await stores.directory.tenant(tenant_id)
            if tenant is None:
                raise SettingsError(f"there is no tenant {tenant_id!r}; see: cauce tenant list")
            return tenant.identity_providers

    found = asyncio.run(run())
    if as_json:
        print_json([p.model_dump(mode="json") for p in found])
        return
    for p in found:
        typer.echo(f"{p.name:16} {p.issuer}  client {p.client_id}  user from {p.user_claim}")
