"""The suite runs once with each backend: same tests, and a difference is a bug in one of the two.

Bodies go through a codec that marks them, and when all tests are done no body without its mark may stand in a table.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stored_cells import cells_of, marked, unmarked

from deploy.cluster import CassandraServer
from state import Stores, open_stores


@pytest.fixture(scope="session", params=["sqlite", "cassandra"])
def new_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes tables of their own and says where they are."""

    server: CassandraServer | None = request.getfixturevalue("cassandra") if request.param == "cassandra" else None

    def make() -> str:
        if server is None:
            url = _sqlite_url(tmp_path_factory.mktemp("sqlite"))
        else:
            url = f"cassandra://{server.contact_point}:{server.port}/conformance_{secrets.token_hex(4)}?rf=1"
        asyncio.run(_migrate(url))
        return url

    return make


@pytest.fixture(scope="session")
def state_url(new_url: Callable[[], str]) -> Iterator[str]:
    """Where the stores are; their tables exist. Tests share them, each with tenants of its own."""
    url = new_url()
    yield url
    assert asyncio.run(_unmarked(url)) == {}


@pytest.fixture
async def stores(state_url: str) -> AsyncIterator[Stores]:
    stores = marked(state_url)
    await stores.open()
    yield stores
    await stores.close()


@pytest.fixture
def tenant() -> str:
    return f"t-{secrets.token_hex(6)}"


@pytest.fixture
def other_tenant() -> str:
    return f"t-{secrets.token_hex(6)}"


def _sqlite_url(folder: Path) -> str:
    return f"sqlite://{folder}"


async def _migrate(url: str) -> None:
    stores = open_stores(url)
    await stores.open()
    await stores.migrate()
    await stores.close()


async def _unmarked(url: str) -> dict[str, list[Any]]:
    stores = open_stores(url)
    await stores.open()
    found = unmarked(await cells_of(stores))
    await stores.close()
    return found
