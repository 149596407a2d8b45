"""`cauce tenant key`: API keys of a tenant's users."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cauce.commands.common import (
    ConfigOption,
    DataOption,
    JsonOption,
    TenantArgument,
    on_stores,
    print_json,
    print_models,
    settings_of,
)
from cauce.plain_output import say_line
from schemas.common.clock import utc_now

if TYPE_CHECKING:
    from core.api_keys import ApiKey

HIDDEN_OF_KEYS = frozenset({"secret_hash"})
"""Fields of a stored key that are never printed."""

key = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys for the gateway.")


@key.command()
def create(
    tenant_id: TenantArgument,
    user: Annotated[
        str, typer.Option("--user", help="User who owns the key; requests with it act as this user.")
    ] = "owner",
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", help="read, write, approve, admin; repeat it [all but admin].")
    ] = None,
    days: Annotated[float | None, typer.Option(min=0, help="Days until it expires [90].")] = None,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Create a key and print it. It is shown only once; Cauce stores only its hash.

    Example: `cauce tenant key create acme --user ana --name laptop --scope read --scope write`
    """
    from core.api_keys import LIFETIME
    from core.principal import OPERATOR, SCOPES

    lifetime = LIFETIME if days is None else timedelta(days=days)
    made = on_stores(
        settings_of(data, config),
        lambda core: core.keys.create(OPERATOR, tenant_id, user, name=name, scopes=scopes or SCOPES, lifetime=lifetime),
    )
    if as_json:
        print_json({"key": made.text, "key_id": made.key.key_id, "user": user, "expires_at": str(made.key.expires_at)})
    else:
        say_line(made.text)


@key.command("list")
def list_keys(
    tenant_id: TenantArgument, as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None
) -> None:
    """List a tenant's keys, without their secrets."""
    from core.principal import OPERATOR

    found = on_stores(settings_of(data, config), lambda core: core.keys.list(OPERATOR, tenant_id))

    def line(k: ApiKey) -> str:
        left = "expired" if k.expires_at < utc_now() else f"until {k.expires_at:%Y-%m-%d}"
        return f"{k.key_id}  {k.user_id:20} {left:18} {','.join(k.scopes):20} {k.name}"

    print_models(found, line, as_json=as_json, hidden=HIDDEN_OF_KEYS)


@key.command()
def revoke(
    tenant_id: TenantArgument,
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `list` shows it.")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Revoke a key. Gateways reject it within five seconds."""
    from core.principal import OPERATOR

    on_stores(settings_of(data, config), lambda core: core.keys.revoke(OPERATOR, tenant_id, key_id))
    say_line(f"revoked {key_id}")
