"""Whoever wants something of a store asks a use case: beside `core/` only what is named here uses one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from state import Stores

ROOT = Path(__file__).parents[2]
STORES = frozenset(Stores.__annotations__)
OPERATING = {
    "cauce/recovery.py": {"journal", "ledger"},  # writes a store again from the topics
    "cauce/services/worker_service.py": {"attempts"},  # hands it to the runtime of streams
    "cauce/worker_parts.py": {"directory", "items"},  # hands them to the processors
    "connectors/gateway/gateway_core.py": {"journal", "items"},  # hands them to the hosted graphs
}
"""Stores that are used past the use cases, by files."""


def used(source: str) -> Iterator[str]:
    """Names of stores in `stores.NAME` and `anything.stores.NAME`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in STORES:
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name.strip("_") == "stores":
                yield node.attr


def test_nothing_above_the_use_cases_reaches_past_them() -> None:
    assert "journal" in STORES
    files = [path for room in ("connectors", "cauce") for path in (ROOT / room).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): set(used(path.read_text())) for path in files}
    assert {file: names for file, names in found.items() if names} == OPERATING


def test_reaching_past_them_would_be_seen() -> None:
    source = "await core.stores.items.get(1)\nstores.directory\nself._stores.audit\nstores.ping()\ncore.items"
    assert sorted(used(source)) == ["audit", "directory", "items"]
