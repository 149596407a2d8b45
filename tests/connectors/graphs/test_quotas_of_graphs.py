"""What hosted graphs keep for a user has the same quotas as what the user's clients keep."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from cauce.settings import load_settings
from cauce.worker_parts import WorkerParts
from connectors.graphs import UserStore
from core.refusals import Forbidden
from schemas.common.metrics import RuntimeMetrics
from state import Stores

ROOT = Path(__file__).parents[3]


async def test_what_a_node_keeps_beyond_the_quota_of_its_user_is_refused(stores: Stores, tmp_path: Path) -> None:
    settings = load_settings(environment={"CAUCE_QUOTA_ITEMS": "2", "CAUCE_QUOTA_ITEM_BYTES": "1000"}, data=tmp_path)
    parts = WorkerParts(settings, stores, RuntimeMetrics(CollectorRegistry()), lambda _: None)
    store = UserStore(parts.items, "acme", "ada")
    for key in ("a", "b"):
        await store.aput(("notes",), key, {"text": "short"})
    with pytest.raises(Forbidden, match="at most 2 items"):
        await store.aput(("notes",), "c", {"text": "short"})
    await store.aput(("notes",), "a", {"text": "x" * 800})
    with pytest.raises(Forbidden, match="1,000 bytes together"):
        await store.aput(("notes",), "b", {"text": "x" * 800})
    await UserStore(parts.items, "acme", "bob").aput(("notes",), "c", {"text": "short"})
    await store.adelete(("notes",), "a")
    await store.aput(("notes",), "b", {"text": "x" * 800})


def test_processors_take_items_from_where_the_quotas_are() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "processors").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "items" and ast.unparse(node.value).endswith("stores")
    ]
    assert found == [], "take Parts.items, which has the quotas"
