"""Use cases without HTTP: everything that may be done for a principal, whichever way the request comes in.

Names are imported when they are used, so that a command that needs only the stores does not load Kafka's client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.core import Core
    from core.run_views import NewRun, RunView

__all__ = ["Core", "NewRun", "RunView"]

_WHERE = {"Core": "core", "NewRun": "run_views", "RunView": "run_views"}


def __getattr__(name: str) -> Any:
    """The name, from its module."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
