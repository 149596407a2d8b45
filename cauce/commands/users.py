"""`cauce user`: people inside a tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cauce.commands.common import ConfigOption, DataOption, JsonOption, print_json, settings_of
from cauce.commands.families import Family
from cauce.opened_stores import opened_stores
from schemas.clock import utc_now

if TYPE_CHECKING:
    from schemas import User

user = typer.Typer(no_args_is_help=True, help="Show and change the users of a tenant.")

TenantArgument = Annotated[str, typer.Argument(help="Id of the tenant.")]
UserArgument = Annotated[str, typer.Argument(help="Id of the user.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(user, name="user")


FAMILY = Family(register, rank=51)


def zone_name(given: str) -> str | None:
    """The time zone that an option names; None for an empty one, which takes it away. Raises `SettingsError`."""
    from schemas import SettingsError, check_zone

    try:
        return check_zone(given) if given else None
    except ValueError as error:
        raise SettingsError(str(error)) from error


@user.command("set")
def set_user(
    tenant_id: TenantArgument,
    user_id: UserArgument,
    name: Annotated[str | None, typer.Option(help="Name for people.")] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Where the user's days begin, such as Europe/Madrid; '' for the tenant's.")
    ] = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Change a user; what is not named stays. Made when new. Workers follow within seconds.

    Example: `cauce user set home owner --time-zone Europe/Madrid`
    """
    import asyncio

    from schemas import NotFound, SettingsError, User, is_id

    settings = settings_of(data, config)
    if not is_id(user_id):
        raise SettingsError(f"{user_id!r} cannot be a user's id")
    changes = {} if time_zone is None else {"time_zone": zone_name(time_zone)}
    changes |= {} if name is None else {"name": name}

    async def run() -> None:
        async with opened_stores(settings) as stores:
            if await stores.directory.tenant(tenant_id) is None:
                raise NotFound(f"there is no tenant {tenant_id!r}; see: cauce tenant list")
            found = await stores.directory.user(tenant_id, user_id)
            found = found or User(tenant_id=tenant_id, user_id=user_id, created_at=utc_now())
            await stores.directory.put_user(found.model_copy(update=changes))

    asyncio.run(run())
    typer.echo(f"changed {user_id} of {tenant_id}")


@user.command("list")
def list_users(
    tenant_id: TenantArgument, as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None
) -> None:
    """List the users of a tenant that have settings, with their time zones."""
    import asyncio

    settings = settings_of(data, config)

    async def run() -> list[User]:
        async with opened_stores(settings) as stores:
            return await stores.directory.users(tenant_id)

    found = asyncio.run(run())
    if as_json:
        print_json([u.model_dump(mode="json") for u in found])
        return
    for u in found:
        typer.echo(f"{u.user_id:20} {u.time_zone or '-':24} {u.name}")
