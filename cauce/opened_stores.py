"""The stores of the settings, opened for the length of a block, and the use cases on them. Imports its dependencies when used,
as commands do."""

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
"""Timeout for opening the stores while a user waits at the terminal."""


@asynccontextmanager
async def opened_stores(settings: Settings, *, create: bool = False) -> AsyncIterator[Stores]:
    """The stores, closed at the end of the block.

    Raises `NotRunning` when the data folder has no store and `create` is not given, and `Unavailable` when a
    server does not answer within `OPEN_SECONDS`.
    """
    from cauce.running import NotRunning
    from schemas import Unavailable
    from state import open_stores

    if not create and not settings.has_state:
        raise NotRunning(f"{settings.data} has no data yet. Start Cauce with: cauce up")
    stores = open_stores(settings.state_url, **settings.store_options)
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
    """The use cases on the stores, which are closed at the end of the block. Raises what `opened_stores` raises."""
    from core.store_core import StoreCore

    async with opened_stores(settings) as stores:
        yield StoreCore(stores)


def user_of(settings: Settings) -> Principal:
    """The user of the settings; whoever has access to the stores may act as this user."""
    from core.principal import Principal

    return Principal(settings.tenant, settings.user, kind="operator")
