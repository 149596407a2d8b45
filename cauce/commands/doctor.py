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
    """Check the machine, the settings and every server, and show what to do. Exit code 1 if there is a problem."""
    import asyncio
    import os

    from cauce.checks import examine

    named = config is not None or bool(os.environ.get("CAUCE_CONFIG"))
    findings = asyncio.run(examine(settings_of(data, config), file_was_named=named))
    if as_json:
        print_json(
            [{"subject": f.subject, "verdict": f.verdict, "words": f.detail} for f in findings]
        )  # scripts read these keys
    else:
        from cauce.screen import Listing, one_line

        marks = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}
        table = Listing()
        table.show_header = False
        for finding in findings:
            table.add_row(one_line(marks[finding.verdict]), one_line((finding.subject, "bold")), finding.detail)
        console().print(table)
    if any(f.verdict == "problem" for f in findings):
        raise typer.Exit(Exit.FAILED)
