"""`cauce gateway` and `cauce login`: the front door."""

from __future__ import annotations

from typing import Annotated

import typer

from cauce.commands.common import ConfigOption, DataOption, LangGraphOption, TenantOption, on_stores, settings_of
from cauce.commands.families import Family
from cauce.plain_output import say_line

PortOption = Annotated[int | None, typer.Option("--port", help="Port to listen on [default: 8123, or any free one].")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(gateway)
    app.command()(login)


FAMILY = Family(register, rank=70)


def gateway(
    port: PortOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
    langgraph: LangGraphOption = None,
    supervised: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Serve HTTP: /v1, the LangGraph API under /lg, AG-UI under /agui. `cauce up` runs one already.

    Example: `CAUCE_KAFKA=127.0.0.1:19092 CAUCE_CASSANDRA=127.0.0.1:19042 cauce gateway --port 8123`.
    Run as many as you like; each can serve every request.
    """
    from cauce.service import run_here
    from cauce.services.gateway_service import SERVICE

    settings = settings_of(data, config, gateway_port=port, langgraph=langgraph)
    run_here(SERVICE, settings, supervised=supervised, on_ready=lambda note: say_line(f"The gateway serves {note.url}"))


def login(
    data: DataOption = None,
    config: ConfigOption = None,
    tenant: TenantOption = None,
    user: Annotated[str | None, typer.Option("--user", help="User to sign in [default: owner].")] = None,
) -> None:
    """Print a one-time link that signs a browser in, valid for 15 minutes. For the system on this machine."""
    from cauce.running import NotRunning, find_gateway
    from core.principal import OPERATOR

    settings = settings_of(data, config, tenant=tenant, user=user)
    running = find_gateway(settings)
    if running is None:
        raise NotRunning("No gateway runs here. Start it with: cauce up")

    secret = on_stores(settings, lambda core: core.sessions.link(OPERATOR, settings.tenant, settings.user))
    say_line(f"{settings.gateway.public_url or running.url}/login?link={secret}")
