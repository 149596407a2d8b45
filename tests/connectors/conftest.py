"""One emulator process for each module that asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from emulated import Emulated, emulators


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def emulated_services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Emulated]:
    async with emulators(tmp_path_factory.mktemp("emulators")) as running:
        yield running


@pytest.fixture
async def emulated(emulated_services: Emulated) -> Emulated:
    """The emulators without faults."""
    await emulated_services.reset()
    return emulated_services
