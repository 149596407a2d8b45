"""A connector: an external service and what it provides to an installation. Each folder here declares its `CONNECTOR`."""

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
    """The declaration of a folder of `connectors/`; only its name where other code uses it directly, such as the gateway.

    The factories get the connector's settings and return None if these do not configure it.
    """

    name: str
    """The name of its folder and of its settings section."""
    settings: type[Section] = Section
    toolset: Callable[[Any], Toolset | None] | None = None
    """Creates its toolset (`connectors.toolset`)."""
    source: Callable[[Any], EventSource | None] | None = None
    """Creates its event source (`connectors.event_source`)."""
    sender: Callable[[Any], Sender | None] | None = None
    """Creates its sender of notifications (`connectors.sender`)."""
    unset: str = ""
    """What configures it, for messages to users, such as "set ARCADE_API_KEY"."""
    imports: tuple[str, ...] = ()
    """Modules that are slow to import; they are loaded while other parts of the system start."""


@cache
def connectors() -> tuple[Connector, ...]:
    """All connectors, found by walking the folders."""
    return tuple(_declared(one.name) for one in iter_modules(room.__path__) if one.ispkg)


def _declared(name: str) -> Connector:
    found = getattr(import_module(f"{room.__name__}.{name}"), "CONNECTOR", None)
    if not isinstance(found, Connector) or found.name != name:
        raise TypeError(
            f"connectors/{name}/__init__.py must declare CONNECTOR = Connector(name={name!r}, ...): see docs/extending.md"
        )
    return found
