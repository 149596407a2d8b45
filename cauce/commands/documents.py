"""`cauce schemas`, `asyncapi`, `openapi`, `settings`, `metrics` and `version`: documents generated from the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cauce.commands.common import print_json
from cauce.commands.families import Family
from cauce.plain_output import say, say_line

FileOption = Annotated[Path | None, typer.Option("--out", help="File to write.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(schemas)
    app.command()(asyncapi)
    app.command()(openapi)
    app.command()(settings)
    app.command()(metrics)
    app.command()(version)


FAMILY = Family(register, rank=80)


def schemas(
    out: Annotated[Path | None, typer.Option(help="Folder to write to, one file per type.")] = None,
) -> None:
    """Print the JSON Schemas of all records, or write them into a folder."""
    from cauce.asyncapi import json_schemas

    found = json_schemas()
    if out is None:
        print_json(found)
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, schema in found.items():
        (out / f"{name}.json").write_text(json.dumps(schema, indent=2) + "\n")
    say_line(f"wrote {len(found)} schemas to {out}")


def asyncapi(out: FileOption = None) -> None:
    """Print the AsyncAPI 3.0 document of the whole system, or write it to a file."""
    from cauce.asyncapi import document

    _put(document(), out)


def openapi(out: FileOption = None) -> None:
    """Print the OpenAPI 3.1 document of the gateway's /v1, or write it to a file."""
    from connectors.gateway.protocols.v1.routes import document

    _put(document(), out)


def settings(out: FileOption = None) -> None:
    """Print the reference of all settings as Markdown, or write it to a file."""
    from cauce.settings_page import page

    if out is None:
        say(page(), end="")
    else:
        out.write_text(page())
        say_line(f"wrote {out}")


def metrics(out: FileOption = None) -> None:
    """Print the table of all metrics as Markdown, or replace the table of an existing page."""
    from cauce.metrics_table import put_into, table

    if out is None:
        say(table(), end="")
    else:
        out.write_text(put_into(out.read_text()))
        say_line(f"wrote {out}")


def version() -> None:
    """Print the version."""
    from cauce import __version__

    say_line(__version__)


def _put(made: object, out: Path | None) -> None:
    if out is None:
        print_json(made)
    else:
        out.write_text(json.dumps(made, indent=2) + "\n")
        say_line(f"wrote {out}")
