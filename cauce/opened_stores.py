"""The stores that the settings name, opened for a while, and the use cases on them. Imports what it needs when it is used, as
commands do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cauce.settings import Settings
    from core.principal import Principal
    from core.store_core import StoreCore
    from state import Stores

OPEN_SECONDS = 10.0
"""How long a server may take to answer somebody who waits at a terminal."""


@asynccontextmanager
async def opened_stores(settings: Settings, *, create: bool = False) -> AsyncIterator[Stores]:
    """The stores, closed again at the end of the block.

    Raises `NotRunning` when nothing was ever kept in the data folder and `create` is not given, and `Unavailable` when a
    server does not answer within `OPEN_SECONDS`.
    """
    from cauce.running import NotRunning
    from schemas import Unavailable
    from state import open_stores

    if not create and not settings.has_state:
        raise NotRunning(f"nothing was kept in {settings.data} yet. Start Cauce with: cauce up")
    stores = open_stores(settings.state_url)
    try:
        await asyncio.wait_for(stores.open(), OPEN_SECONDS)
    except TimeoutError as error:
        raise Unavailable(f"the store {settings.state_url} does not answer") from error
    try:
        yield stores
    finally:
        await stores.close()


@asynccontextmanager
async def opened_core(settings: Settings) -> AsyncIterator[StoreCore]:
    """The use cases on the stores, which are closed again at the end of the block. Raises what `opened_stores` raises."""
    from core.store_core import StoreCore

    async with opened_stores(settings) as stores:
        yield StoreCore(stores)


def user_of(settings: Settings) -> Principal:
    """The user that the settings name, as whom who has the stores may act."""
    from core.principal import Principal

    return Principal(settings.tenant, settings.user, kind="operator")
