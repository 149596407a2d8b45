"""Threads of the sample graphs, with a user's store on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from graph_threads import Threads

from connectors.graphs import UserStore
from state import Stores, open_stores


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = open_stores(f"sqlite:///{tmp_path}")
    await stores.open()
    await stores.migrate()
    yield stores
    await stores.close()


@pytest.fixture
async def user_store(stores: Stores) -> UserStore:
    return UserStore(stores.items, "acme", "ada")


@pytest.fixture
def thread_of(user_store: UserStore) -> Threads:
    """Makes a thread of a graph of `sample_graphs`."""
    return Threads(user_store)
