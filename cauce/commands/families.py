"""Command families: each module of this folder with top-level commands declares its `FAMILY`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

import typer

from cauce import commands


@dataclass(frozen=True, slots=True)
class Family:
    """A group of related commands."""

    register: Callable[[typer.Typer], None]
    """Adds the commands to the application."""
    rank: int = 100
    """Position in `cauce --help`: lower ranks first, equal ranks by module name."""


def families() -> list[Family]:
    """All families found in this folder, in the order of the help."""
    names = sorted(one.name for one in iter_modules(commands.__path__))
    found = (getattr(import_module(f"{commands.__name__}.{name}"), "FAMILY", None) for name in names)
    return sorted((family for family in found if isinstance(family, Family)), key=lambda family: family.rank)
