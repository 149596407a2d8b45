"""One emulated engine for each module, and stores and processors for each test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from emulated import Emulated, emulators
from tool_calls import NOON, Workers

from connectors.arcade import ArcadeClient
from schemas import Tenant
from state import Stores, open_stores


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def emulated_services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emulated]:
    async with emulators(tmp_path_factory.mktemp("emulators")) as running:
        yield running


@pytest.fixture
async def emulated(emulated_services: Emulated) -> Emulated:
    await emulated_services.reset()
    return emulated_services


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = open_stores(f"sqlite://{tmp_path}")
    await opened.open()
    await opened.migrate()
    await opened.directory.put_tenant(Tenant(tenant_id="acme", created_at=NOON), expected_version=0)
    yield opened
    await opened.close()


@pytest.fixture
async def workers(stores: Stores, emulated: Emulated) -> AsyncIterator[Workers]:
    client = ArcadeClient(emulated.base_url, emulated.api_key, timeout=120)
    yield Workers(stores, client)
    await client.close()


@pytest.fixture
def unique() -> str:
    return f"s{secrets.token_hex(6)}"
