"""A connector: one service outside, and what it brings into an installation. Each folder of this room has its `CONNECTOR`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import connectors as room
from schemas.common.section import Section

if TYPE_CHECKING:
    from connectors.event_source import EventSource
    from connectors.sender import Sender
    from connectors.toolset import Toolset


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """What a folder of `connectors/` declares: nothing but its name where it is used by name, such as the gateway.

    What is made gets the connector's settings, and is None where they say that there is none.
    """

    name: str
    """Its folder, and the section of its settings."""
    settings: type[Section] = Section
    toolset: Callable[[Any], Toolset | None] | None = None
    """Makes its tools (`connectors.toolset`)."""
    source: Callable[[Any], EventSource | None] | None = None
    """Makes what brings events from it (`connectors.event_source`)."""
    sender: Callable[[Any], Sender | None] | None = None
    """Makes what notifies users through it (`connectors.sender`)."""
    unset: str = ""
    """What a person has to do so that there is one, such as "set ARCADE_API_KEY"."""
    imports: tuple[str, ...] = ()
    """Modules that take long to import: they are loaded while other parts of the system start."""


@cache
def connectors() -> tuple[Connector, ...]:
    """All of them, by walking the folders."""
    return tuple(_declared(one.name) for one in iter_modules(room.__path__) if one.ispkg)


def _declared(name: str) -> Connector:
    found = getattr(import_module(f"{room.__name__}.{name}"), "CONNECTOR", None)
    if not isinstance(found, Connector) or found.name != name:
        raise TypeError(
            f"connectors/{name}/__init__.py has to declare CONNECTOR = Connector(name={name!r}, ...): see docs/extending.md"
        )
    return found
