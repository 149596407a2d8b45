"""Use cases on a SQLite store of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.principal import OPERATOR
from core.store_core import StoreCore
from state import Stores, open_stores


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = open_stores(f"sqlite://{tmp_path / 'state'}")
    await stores.open()
    await stores.migrate()
    yield stores
    await stores.close()


@pytest.fixture
async def core(stores: Stores) -> StoreCore:
    """With the tenants `acme` and `lumen`."""
    made = StoreCore(stores)
    for tenant in ("acme", "lumen"):
        await made.tenants.add(OPERATOR, tenant)
    return made
