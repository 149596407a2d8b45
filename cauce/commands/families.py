"""Families of commands: each module of this folder that has commands for the top level declares its `FAMILY`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

import typer

from cauce import commands


@dataclass(frozen=True, slots=True)
class Family:
    """Commands that belong together."""

    register: Callable[[typer.Typer], None]
    """Adds them to the application."""
    rank: int = 100
    """Where they stand in `cauce --help`: the lower, the earlier; those of one rank by the names of their modules."""


def families() -> list[Family]:
    """All of them, by walking the folder, in the order of the help."""
    names = sorted(one.name for one in iter_modules(commands.__path__))
    found = (getattr(import_module(f"{commands.__name__}.{name}"), "FAMILY", None) for name in names)
    return sorted((family for family in found if isinstance(family, Family)), key=lambda family: family.rank)
