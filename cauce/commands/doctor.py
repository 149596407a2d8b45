"""`cauce doctor`: checks everything that Cauce depends on and describes what is wrong."""

from __future__ import annotations

import typer

from cauce.commands.common import ConfigOption, DataOption, JsonOption, console, print_json, settings_of
from cauce.commands.families import Family
from cauce.exit_codes import Exit


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(doctor)


FAMILY = Family(register, rank=90)


def doctor(as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None) -> None:
    """Check the machine, the settings and every server, and say what to do. Exit code 1 when something is wrong."""
    import asyncio
    from dataclasses import asdict

    from cauce.checks import examine

    findings = asyncio.run(examine(settings_of(data, config)))
    if as_json:
        print_json([asdict(f) for f in findings])
    else:
        from rich.table import Table

        marks = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "problem": "[red]✗[/]"}
        table = Table(box=None, show_header=False)
        for finding in findings:
            table.add_row(marks[finding.verdict], f"[bold]{finding.subject}[/]", finding.words)
        console().print(table)
    if any(f.verdict == "problem" for f in findings):
        raise typer.Exit(Exit.FAILED)
