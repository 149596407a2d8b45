"""Command families, found in their folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
import typer
from typer.testing import CliRunner

from cauce import cli, commands
from cauce.commands.families import families
from cauce.commands.late_groups import LateGroup

GREETING = '''
import typer

from cauce.commands.families import Family
from cauce.commands.late_groups import LateGroup


def register(app: typer.Typer) -> None:
    app.command()(greet)


def greet() -> None:
    """Greet."""
    typer.echo("hello")


FAMILY = Family(register)
'''


def below(app: typer.Typer) -> Iterator[typer.Typer]:
    """The application and all groups in it."""
    yield app
    for group in app.registered_groups:
        assert group.typer_instance
        late = group.typer_instance.info.cls
        yield from below(
            late.family if isinstance(late, type) and issubclass(late, LateGroup) else group.typer_instance
        )


def test_a_module_that_is_put_into_the_folder_is_a_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greeting.py").write_text(GREETING)
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    app = typer.Typer()
    for family in families():
        family.register(app)
    sys.modules.pop("cauce.commands.greeting")
    assert CliRunner().invoke(app, ["greet"]).stdout == "hello\n"


def test_every_group_of_commands_in_the_folder_is_reached() -> None:
    there = {id(group) for group in below(cli.app)}
    for one in iter_modules(commands.__path__):
        module = import_module(f"cauce.commands.{one.name}")
        for name, value in vars(module).items():
            if isinstance(value, typer.Typer):
                assert id(value) in there, f"{one.name}.{name}"
