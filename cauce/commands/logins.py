"""`cauce tenant login`: the OpenID providers with which a tenant's users sign in."""

from __future__ import annotations

from typing import Annotated

import typer

from cauce.commands.common import (
    ConfigOption,
    DataOption,
    JsonOption,
    TenantArgument,
    on_stores,
    print_json,
    settings_of,
)
from cauce.plain_output import say_line

login = typer.Typer(
    no_args_is_help=True, help="Let users sign in with an OpenID provider, such as Google or Microsoft."
)

NameArgument = Annotated[str, typer.Argument(help="Name for the provider; part of its sign-in URL.")]


@login.command()
def add(
    tenant_id: TenantArgument,
    name: NameArgument,
    issuer: Annotated[
        str, typer.Option(help="Issuer as it appears in the provider's tokens, such as https://accounts.google.com.")
    ],
    client_id: Annotated[str, typer.Option(help="Client id of Cauce at the provider.")],
    client_secret_env: Annotated[
        str | None, typer.Option(help="Environment variable of the gateways that holds the client secret.")
    ] = None,
    audience: Annotated[
        str | None,
        typer.Option(help="Audience of access tokens, which must not be the client id [no access tokens]."),
    ] = None,
    user_claim: Annotated[
        str, typer.Option(help="Claim that identifies a user at the provider: sub, or email.")
    ] = "sub",
    allow_domain: Annotated[
        list[str] | None, typer.Option(help="Admit users whose verified address is in this domain; repeat it.")
    ] = None,
    allow_group: Annotated[list[str] | None, typer.Option(help="Admit users of this group; repeat it.")] = None,
    allow_claim: Annotated[
        list[str] | None, typer.Option(help="Admit users with this claim, as CLAIM=VALUE; repeat it.")
    ] = None,
    groups_claim: Annotated[str, typer.Option(help="Claim that lists a user's groups.")] = "groups",
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", help="read, write, approve: what its users may do; repeat it [all].")
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Add a provider, or replace the one of this name. Its redirect URL is GATEWAY/auth/TENANT/NAME/callback.

    Nobody is admitted unless by `--allow-domain`, `--allow-group` or `--allow-claim`, any one of which is enough, or with
    `cauce user link`.

    Google: `--issuer https://accounts.google.com`. Microsoft: `--issuer https://login.microsoftonline.com/TENANT_ID/v2.0`.
    """
    from core.principal import OPERATOR, SCOPES
    from core.refusals import checked
    from schemas import IdentityProvider

    provider = checked(
        IdentityProvider,
        name=name,
        issuer=issuer,
        client_id=client_id,
        client_secret_env=client_secret_env,
        audience=audience,
        user_claim=user_claim,
        allow_domains=tuple(domain.lower() for domain in allow_domain or ()),
        allow_groups=tuple(allow_group or ()),
        allow_claims=tuple(allow_claim or ()),
        groups_claim=groups_claim,
        scopes=tuple(scopes or SCOPES),
    )
    on_stores(settings_of(data, config), lambda core: core.tenants.put_provider(OPERATOR, tenant_id, provider))
    say_line(f"added {name}: users sign in at GATEWAY/auth/{tenant_id}/{name}/login")
    if not (allow_domain or allow_group or allow_claim):
        say_line(f"it admits only identities that you link: cauce user link {tenant_id} USER --provider {name}")


@login.command()
def remove(tenant_id: TenantArgument, name: NameArgument, data: DataOption = None, config: ConfigOption = None) -> None:
    """Remove a provider. Its tokens do not count any more, and the sessions that began with it end."""
    from core.principal import OPERATOR

    on_stores(settings_of(data, config), lambda core: core.ends.remove_provider(OPERATOR, tenant_id, name))
    say_line(f"removed {name}")


@login.command("list")
def list_providers(
    tenant_id: TenantArgument, as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None
) -> None:
    """List a tenant's providers."""
    from core.principal import OPERATOR

    tenant = on_stores(settings_of(data, config), lambda core: core.tenants.get(OPERATOR, tenant_id))
    found = tenant.identity_providers
    if as_json:
        print_json([p.model_dump(mode="json") for p in found])
        return
    for p in found:
        say_line(f"{p.name:16} {p.issuer}  client {p.client_id}  user from {p.user_claim}  {','.join(p.scopes)}")
        rules = [f"domain {d}" for d in p.allow_domains] + [f"group {g}" for g in p.allow_groups] + [*p.allow_claims]
        say_line(f"{'':16} admits {'; '.join(rules) or 'nobody'}; and linked identities (cauce user identities)")
