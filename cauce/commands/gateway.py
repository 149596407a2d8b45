"""`cauce gateway` and `cauce login`: the front door."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from cauce.commands.common import ConfigOption, DataOption, LangGraphOption, opened_stores, settings_of

PortOption = Annotated[int | None, typer.Option("--port", help="Port to listen on [default: 8123, or any free one].")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(gateway)
    app.command()(login)


def gateway(
    port: PortOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
    langgraph: LangGraphOption = None,
    supervised: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Serve HTTP: /v1, the LangGraph API under /lg, AG-UI under /agui. `cauce up` runs one already.

    Example: `CAUCE_KAFKA=127.0.0.1:19092 CAUCE_CASSANDRA=127.0.0.1:19042 cauce gateway --port 8123`.
    As many as you like; each can serve every request.
    """
    import gc

    from cauce.gateway import run_gateway
    from cauce.running import connected
    from cauce.telemetry import set_up_logging

    settings = settings_of(data, config, gateway_port=port, langgraph=langgraph)
    set_up_logging(settings)
    if supervised:
        from importlib import import_module

        import_module("connectors.gateway.app")  # while the broker starts
    settings = connected(settings, wait=60 if supervised else 0, until="connected")
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    _run(run_gateway(settings, embedded=supervised, on_ready=lambda url: typer.echo(f"The gateway serves {url}")))


def login(
    data: DataOption = None,
    config: ConfigOption = None,
    user: Annotated[str | None, typer.Option("--user", help="User to sign in [default: owner].")] = None,
) -> None:
    """Print a link that signs a browser in, once, within 15 minutes. For the system of this machine."""
    import asyncio

    from cauce.gateway import find_gateway
    from cauce.running import NotRunning
    from connectors.gateway.auth import Sessions

    settings = settings_of(data, config, user=user)
    running = find_gateway(settings)
    if running is None:
        raise NotRunning("No gateway runs here. Start it with: cauce up")

    async def make() -> str:
        async with opened_stores(settings) as stores:
            return await Sessions(stores.credentials).link(settings.tenant, settings.user)

    typer.echo(f"{running.url}/login?link={asyncio.run(make())}")


def _run(work: Coroutine[Any, Any, None]) -> None:
    """On uvloop where it can be had."""
    from cauce.event_loop import end_process, run

    run(work, uv=True)
    end_process()
