"""The suite runs once with each backend: same tests, and a difference is a bug in one of the two."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.cluster import CassandraServer
from state import Stores, open_stores


@pytest.fixture(scope="session", params=["sqlite", "cassandra"])
def state_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the stores are; their tables exist. Tests share them, each with tenants of its own."""
    if request.param == "sqlite":
        url = _sqlite_url(tmp_path_factory.mktemp("sqlite"))
    else:
        server: CassandraServer = request.getfixturevalue("cassandra")
        url = f"cassandra://{server.contact_point}:{server.port}/conformance_{secrets.token_hex(4)}?rf=1"
    asyncio.run(_migrate(url))
    return url


@pytest.fixture
async def stores(state_url: str) -> AsyncIterator[Stores]:
    stores = open_stores(state_url)
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
