"""The deliberate bugs of `sim_bugs.py` and `sim_bugs_of_intake.py`, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BUGS: dict[str, Callable[[], list[Any]]] = {}
"""By name: makes the patches."""


def bug(make: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
    """Adds a bug. Its name is that of the function, its description the docstring."""
    BUGS[make.__name__] = make
    return make
