"""All processor groups: found by walking the folders of this room."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

import processors
from processors.group import ProcessorGroup
from schemas import SettingsError


def _found() -> dict[str, ProcessorGroup]:
    modules = (import_module(f"processors.{one.name}") for one in iter_modules(processors.__path__) if one.ispkg)
    found = sorted((module.GROUP for module in modules), key=lambda g: (not g.awaited, -len(g.reads), not g.in_order))
    return {group.name: group for group in found}


GROUPS = _found()
"""By their names; those that a conversation waits for come first."""


def groups_of(names: Sequence[str]) -> list[ProcessorGroup]:
    """The groups of these names. Raises `SettingsError` for one that there is not."""
    for name in names:
        if name not in GROUPS:
            raise SettingsError(f"there is no group {name!r}; there are {', '.join(GROUPS)}")
    return [GROUPS[name] for name in names]
