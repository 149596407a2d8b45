"""What commands share: options, output, and the settings that they run with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from cauce.settings import Settings

DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder of the embedded system [default: var].")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="Settings file [default: cauce.toml].")]
LangGraphOption = Annotated[
    Path | None, typer.Option("--langgraph", help="A langgraph.json, whose graphs are hosted as it says.")
]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="Tenant to act for [default: home].")]
UserOption = Annotated[str | None, typer.Option("--user", help="User to act for [default: owner].")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Exit:
    """Exit codes of all commands."""

    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    WAITS = 4


def settings_of(data: Path | None = None, config: Path | None = None, **given: object) -> Settings:
    """The settings with a command's options."""
    from cauce.settings import load_settings

    return load_settings(config, environment=None, data=data, **given)


def console(*, stderr: bool = False) -> Console:
    """Where people read."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Prints JSON for programs."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
