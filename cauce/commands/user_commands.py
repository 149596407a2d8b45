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
    typer.echo(f"changed {user_id} of {tenant_id}")


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
        typer.echo(f"{u.user_id:20} {u.time_zone or '-':24} {u.name}")
