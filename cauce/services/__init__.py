"""The processes of an installation, one per module, found by walking this folder; `cauce up` runs all of them.

A module declares a `SERVICE` (`cauce/service.py`: one of our processes, with stores, metrics and a health page) or a `PROGRAM`
(`cauce/program.py`: a server that the others use). Modules import little; a process imports what it needs when it runs.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from cauce.program import Program
from cauce.service import Service


@cache
def all_services() -> dict[str, Service]:
    """All services, by name."""
    return {module.SERVICE.name: module.SERVICE for module in _modules() if hasattr(module, "SERVICE")}


@cache
def all_programs() -> tuple[Program, ...]:
    """Everything that `cauce up` runs, services included."""
    return tuple(m.SERVICE.program() if hasattr(m, "SERVICE") else m.PROGRAM for m in _modules())


def _modules() -> list[Any]:
    return [import_module(f"{__name__}.{one.name}") for one in iter_modules(__path__)]
