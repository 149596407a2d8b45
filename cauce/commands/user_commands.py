"""`cauce user`: the users of a tenant."""

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
from cauce.commands.families import Family
from cauce.plain_output import say_line

user = typer.Typer(no_args_is_help=True, help="Show and change the users of a tenant.")

UserArgument = Annotated[str, typer.Argument(help="Id of the user.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(user, name="user")


FAMILY = Family(register, rank=51)


@user.command("set")
def set_user(
    tenant_id: TenantArgument,
    user_id: UserArgument,
    name: Annotated[str | None, typer.Option(help="Name for people.")] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="The user's time zone, such as Europe/Madrid; '' for the tenant's.")
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Create a user or change one; other settings stay unchanged. Workers follow within seconds.

    Example: `cauce user set home owner --time-zone Europe/Madrid`
    """
    from core.principal import OPERATOR
    from core.user_settings import UserChange

    change = UserChange(name=name, time_zone=time_zone)
    on_stores(settings_of(data, config), lambda core: core.users.change(OPERATOR, tenant_id, user_id, change))
    say_line(f"changed {user_id} of {tenant_id}")


@user.command("list")
def list_users(
    tenant_id: TenantArgument, as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None
) -> None:
    """List the users of a tenant that have settings, with their time zones."""
    from core.principal import OPERATOR

    found = on_stores(settings_of(data, config), lambda core: core.users.all(OPERATOR, tenant_id))
    if as_json:
        print_json([u.model_dump(mode="json") for u in found])
        return
    for u in found:
        say_line(f"{u.user_id:20} {u.time_zone or '-':24} {u.name}")


@user.command()
def link(
    tenant_id: TenantArgument,
    user_id: UserArgument,
    provider: Annotated[str, typer.Option(help="Provider of the tenant, as `cauce tenant login list` shows it.")],
    subject: Annotated[str, typer.Option(help="What the provider calls the user: the claim `sub` of its tokens.")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Admit an identity at an OpenID provider as this user, who is created if new. Whoever is not admitted is shown the subject.

    Example: `cauce user link acme ana --provider google --subject 110169484474386276334`
    """
    from core.principal import OPERATOR

    made = on_stores(
        settings_of(data, config),
        lambda core: core.identities.link(OPERATOR, tenant_id, user_id, provider_name=provider, subject=subject),
    )
    say_line(f"linked as {made.link_id}")


@user.command()
def unlink(
    tenant_id: TenantArgument,
    link_id: Annotated[str, typer.Argument(help="Id of the link, as `cauce user identities` shows it.")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Remove a link between an identity and a user. Gateways follow within five seconds; sessions that have begun continue."""
    from core.principal import OPERATOR

    on_stores(settings_of(data, config), lambda core: core.identities.unlink(OPERATOR, tenant_id, link_id))
    say_line(f"unlinked {link_id}")


@user.command()
def identities(
    tenant_id: TenantArgument, as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None
) -> None:
    """List the identities at OpenID providers that are linked to users."""
    from core.principal import OPERATOR

    found = on_stores(settings_of(data, config), lambda core: core.identities.all(OPERATOR, tenant_id))
    if as_json:
        print_json([link.model_dump(mode="json") for link in found])
        return
    for one in found:
        say_line(f"{one.link_id}  {one.user_id:20} {one.issuer}  {one.claim} {one.subject}")
