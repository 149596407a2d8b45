from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from state_samples import until_none

from state import Stores


def soon(seconds: float = 3600) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


async def test_credential_is_read_back_replaced_and_listed_by_kind(stores: Stores, tenant: str) -> None:
    store = stores.credentials
    await store.put(tenant, "key", "b", b"1", expires=soon())
    await store.put(tenant, "key", "a", b"2", expires=soon())
    await store.put(tenant, "session", "a", b"3", expires=soon())
    await store.put(tenant, "key", "a", bytes(range(256)), expires=soon(40 * 365 * 24 * 3600))

    assert await store.get(tenant, "key", "a") == bytes(range(256))
    assert await store.get(tenant, "session", "a") == b"3"
    assert await store.get(tenant, "key", "c") is None
    assert await store.list(tenant, "key") == [("a", bytes(range(256))), ("b", b"1")]


async def test_credential_can_be_taken_once(stores: Stores, tenant: str) -> None:
    store = stores.credentials
    await store.put(tenant, "link", "a", b"once", expires=soon())

    taken = await asyncio.gather(*(store.take(tenant, "link", "a") for _ in range(4)))

    assert (taken.count(b"once"), taken.count(None)) == (1, 3)
    assert await store.get(tenant, "link", "a") is None
    assert await store.take(tenant, "link", "never") is None


async def test_expired_credential_is_gone_for_every_reader(stores: Stores, tenant: str) -> None:
    store = stores.credentials
    await store.put(tenant, "key", "a", b"1", expires=soon(1))
    await until_none(lambda: store.get(tenant, "key", "a"))
    assert await store.take(tenant, "key", "a") is None
    assert await store.list(tenant, "key") == []
