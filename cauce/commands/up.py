"""`cauce up`, `cauce work`, `cauce service`, `cauce emulators`: commands that run processes."""

from __future__ import annotations

from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated

import typer

import processors
from cauce.commands.common import ConfigOption, DataOption, LangGraphOption, console, settings_of
from cauce.commands.families import Family
from cauce.plain_output import say_line

if TYPE_CHECKING:
    from rich.text import Text

    from cauce.running import WorkerNote


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(up)
    app.command()(work)
    app.command()(service)
    app.command()(emulators)


FAMILY = Family(register, rank=10)


def up(data: DataOption = None, config: ConfigOption = None, langgraph: LangGraphOption = None) -> None:
    """Run everything on this machine: broker, tools, worker, gateway.

    Keeps its data in `./var` or `--data`. Stop it with Ctrl-C; a second Ctrl-C does not wait.
    """
    import asyncio

    from cauce.hosting import hosting_of
    from cauce.running import Running, find_gateway, find_workers
    from cauce.supervisor import Supervisor
    from schemas.errors import SettingsError

    settings = settings_of(data, config, langgraph=langgraph)
    hosting_of(settings)  # its errors are reported before anything starts
    if not settings.embedded:
        raise SettingsError(
            "`cauce up` runs its own broker, but CAUCE_KAFKA is set; use `cauce work` with that Kafka, or unset CAUCE_KAFKA"
        )
    out = console()

    def ready(running: Running) -> None:
        from rich.panel import Panel

        from cauce.screen import one_line, stacked

        worker, door = find_workers(settings)[0], find_gateway(settings)
        option = "" if str(settings.data) == "var" else f" --data {settings.data}"
        tools = "emulated Gmail and Asana; nothing leaves this machine" if running.arcade_emulated else "Arcade"
        lines = [
            one_line(("Model", "bold"), f"   {worker.model} ", (f"({worker.model_why})", "dim")),
            one_line(("Tools", "bold"), f"   {tools}"),
            *_hosted(worker),
            one_line(("Data", "bold"), f"    {settings.data.absolute()}"),
            *([one_line(("File", "bold"), f"    {settings.file.absolute()}")] if settings.file else []),
            one_line(("Health", "bold"), f"  {worker.health}/healthz  /readyz  /metrics"),
            *([one_line(("HTTP", "bold"), f"    {door.url}/v1/docs  /lg  /agui")] if door else []),
            *([one_line(("Sign in", "bold"), f" {door.login}")] if door else []),
            one_line(""),
            one_line("Talk to your agent in another terminal:  ", (f"cauce chat{option}", "bold cyan")),
            one_line(
                "Or ask a single question:                ",
                (f'cauce ask{option} "What mail do I have?"', "bold cyan"),
            ),
            one_line(("From a clone: .venv/bin/cauce. Ctrl-C stops.", "dim")),
        ]
        title = f"Cauce {running.version} is ready"
        if out.is_terminal:
            out.print(Panel(stacked(lines), title=one_line(title), expand=False, padding=(1, 2)))
        else:
            out.print(title, *lines, sep="\n")

    out.print("Starting Cauce ...", style="dim")
    asyncio.run(Supervisor(settings, lambda line: out.print(line, style="yellow")).run(ready))


def _hosted(worker: WorkerNote) -> list[Text]:
    """Lines that list the hosted graphs, and what is not served and why."""
    from cauce.screen import one_line

    lines = [one_line(("Graphs", "bold"), f"  {', '.join(worker.graphs)}")] if worker.graphs else []
    return [*lines, *(one_line(("Not served", "bold yellow"), f" {reason}") for reason in worker.not_served)]


def _group_names() -> list[str]:
    """Folders of processor groups; importing the groups would take help a second longer."""
    return [one.name for one in iter_modules(processors.__path__) if one.ispkg]


def work(
    groups: Annotated[list[str], typer.Argument(help=f"One or more of: {', '.join(_group_names())}.")],
    data: DataOption = None,
    config: ConfigOption = None,
    langgraph: LangGraphOption = None,
    supervised: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Run one worker against a cluster, or beside a running `cauce up`.

    Example: `CAUCE_KAFKA=127.0.0.1:19092 CAUCE_CASSANDRA=127.0.0.1:19042 cauce work turns`.
    Run as many as you like of each group; they share the partitions. On SIGTERM, running turns finish first.
    """
    from cauce.service import run_here
    from cauce.services.worker_service import worker_service

    settings = settings_of(data, config, langgraph=langgraph)
    run_here(worker_service(groups), settings, supervised=supervised)


def service(
    name: Annotated[str, typer.Argument(help="Name of the service.")],
    data: DataOption = None,
    config: ConfigOption = None,
    langgraph: LangGraphOption = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on, for services that do.")] = None,
    supervised: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Run one service of an installation against a cluster. `cauce up` runs all of them.

    `cauce work` and `cauce gateway` have options of their own.
    """
    from cauce.service import run_here
    from cauce.services import all_services
    from schemas.errors import SettingsError

    services = all_services()
    if name not in services:
        raise SettingsError(f"there is no service {name!r}; the services are {', '.join(services)}")
    settings = settings_of(data, config, langgraph=langgraph)
    run_here(services[name], settings, supervised=supervised, port=port)


def emulators(data: DataOption = None, config: ConfigOption = None) -> None:
    """Run only the emulated Arcade, Gmail and Asana, to try workers on a cluster without accounts."""
    import asyncio

    from cauce.running import emulators_file
    from connectors.emulators import EmulatorProcess

    settings = settings_of(data, config)

    async def serve() -> None:
        async with EmulatorProcess(settings.data / "emulators", port_file=emulators_file(settings.data)) as running:
            say_line("The emulated tools are running. Set for the workers:")
            say_line(f"export CAUCE_ARCADE_URL={running.base_url} ARCADE_API_KEY={running.api_key}")
            say_line(f"View the data: {running.base_url}/?key={running.api_key}   Ctrl-C stops.")
            await asyncio.Event().wait()

    asyncio.run(serve())
