"""`cauce user`: the users of a tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cauce.commands.common import (
    ConfigOption,
    DataOption,
    JsonOption,
    TenantArgument,
    YesOption,
    confirmed,
    erased,
    on_stores,
    print_json,
    print_models,
    settings_of,
)
from cauce.commands.families import Family
from cauce.commands.key_commands import HIDDEN_OF_KEYS
from cauce.plain_output import say_line

if TYPE_CHECKING:
    from core.store_core import StoreCore

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
    print_models(
        found,
        lambda u: f"{u.user_id:20} {u.time_zone or '-':24} {u.name}{'  (blocked)' if u.blocked else ''}",
        as_json=as_json,
    )


@user.command()
def add(
    tenant_id: TenantArgument,
    user_id: UserArgument,
    name: Annotated[str, typer.Option(help="Name for people.")] = "",
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Add a user. Users without settings of their own need not be added.

    Example: `cauce user add acme ana --name "Ana Ferrer"`
    """
    from core.principal import OPERATOR

    on_stores(settings_of(data, config), lambda core: core.ends.add_user(OPERATOR, tenant_id, user_id, name=name))
    say_line(f"added {user_id} to {tenant_id}")


@user.command()
def block(
    tenant_id: TenantArgument, user_id: UserArgument, data: DataOption = None, config: ConfigOption = None
) -> None:
    """Let a user in no more: no key, session or token counts, and what runs for the user ends. Nothing is deleted."""
    from core.principal import OPERATOR

    on_stores(settings_of(data, config), lambda core: core.ends.block(OPERATOR, tenant_id, user_id))
    say_line(f"blocked {user_id} of {tenant_id}; everywhere within 10 s")


@user.command()
def unblock(
    tenant_id: TenantArgument, user_id: UserArgument, data: DataOption = None, config: ConfigOption = None
) -> None:
    """Let a blocked user in again, with the credentials that were not ended otherwise."""
    from core.principal import OPERATOR

    on_stores(settings_of(data, config), lambda core: core.ends.unblock(OPERATOR, tenant_id, user_id))
    say_line(f"unblocked {user_id} of {tenant_id}")


@user.command("sign-out")
def sign_out(
    tenant_id: TenantArgument,
    user_id: UserArgument,
    yes: YesOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """End all sessions, keys and tokens that a user has now. New ones can be made; what runs continues."""
    from core.principal import OPERATOR

    confirmed(f"End all sessions and keys of {user_id} of {tenant_id}?", yes)
    on_stores(settings_of(data, config), lambda core: core.ends.sign_out(OPERATOR, tenant_id, user_id))
    say_line(f"signed {user_id} of {tenant_id} out everywhere")


@user.command()
def sessions(
    tenant_id: TenantArgument,
    user_id: UserArgument,
    end: Annotated[bool, typer.Option("--end", help="End all of them.")] = False,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """List a user's browser sessions, or end them."""
    from core.principal import OPERATOR

    if end:
        ended = on_stores(settings_of(data, config), lambda core: core.sessions.end_all(OPERATOR, tenant_id, user_id))
        say_line(f"ended {ended}")
        return
    found = on_stores(settings_of(data, config), lambda core: core.ends.sessions(OPERATOR, tenant_id, user_id))
    if as_json:
        print_json([{"id": row, **s.model_dump(mode="json", include=_OF_A_SESSION)} for row, s in found])
        return
    for row, session in found:
        say_line(
            f"{row}  {session.method:20} since {session.created_at:%Y-%m-%d %H:%M} until {session.expires_at:%Y-%m-%d %H:%M}"
        )


_OF_A_SESSION = {"user_id", "created_at", "expires_at", "method"}


@user.command()
def keys(
    tenant_id: TenantArgument,
    user_id: UserArgument,
    revoke: Annotated[bool, typer.Option("--revoke", help="Revoke all of them.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """List a user's API keys, without their secrets, or revoke them."""
    from core.principal import OPERATOR

    found = on_stores(settings_of(data, config), lambda core: core.ends.keys(OPERATOR, tenant_id, user_id))
    if revoke:
        confirmed(f"Revoke {len(found)} keys of {user_id} of {tenant_id}?", yes)

        async def revoke_all(core: StoreCore) -> None:
            for one in found:
                await core.keys.revoke(OPERATOR, tenant_id, one.key_id)

        on_stores(settings_of(data, config), revoke_all)
        say_line(f"revoked {len(found)}")
        return
    print_models(
        found,
        lambda k: f"{k.key_id}  until {k.expires_at:%Y-%m-%d}  {','.join(k.scopes):20} {k.name}",
        as_json=as_json,
        hidden=HIDDEN_OF_KEYS,
    )


@user.command()
def erase(
    tenant_id: TenantArgument,
    user_id: UserArgument,
    yes: YesOption = False,
    wait: Annotated[bool, typer.Option(help="Show how far it is until it is done.")] = True,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Erase all that is kept of a user: threads, items, credentials, settings. Gateways and workers do it, also after a crash.

    What is kept for how long is in docs/security.md.
    """
    confirmed(f"Erase everything of {user_id} of {tenant_id}, for good?", yes)
    erased(settings_of(data, config), tenant_id, user_id, wait=wait)


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
    print_models(
        found, lambda one: f"{one.link_id}  {one.user_id:20} {one.issuer}  {one.claim} {one.subject}", as_json=as_json
    )
