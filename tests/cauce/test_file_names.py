"""A file can be found by its name: two of one name only where folders stand for the same thing in several ways."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "threads", "state", "streams", "core", "connectors", "processors", "cauce")
ALIKE = ("state", "processors", "connectors/gateway/protocols")
"""Whose folders have the same files: a store's contract and its twins, groups, and protocols."""
REGISTERED = frozenset({"__init__.py", "__main__.py", "settings.py"})
"""Files that every room may have, since a register looks for them by their name."""


def test_two_files_of_the_product_share_a_name_only_in_folders_that_are_alike() -> None:
    places = defaultdict(set)
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            if path.name not in REGISTERED:
                folder = path.parent.relative_to(ROOT)
                places[path.name].add(str(folder.parent) if str(folder.parent) in ALIKE else str(folder))
    assert {name: sorted(where) for name, where in places.items() if len(where) > 1} == {}
