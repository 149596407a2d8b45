from __future__ import annotations

import asyncio

import pytest
from stored_cells import marked

from state import Stores


@pytest.fixture
def group(tenant: str) -> str:
    return f"turns-{tenant}"


async def test_attempts_are_counted_one_record_at_a_time(stores: Stores, group: str) -> None:
    record = (group, "chat.messages", 3, 41)
    assert await stores.attempts.begun(*record) == 0
    assert [await stores.attempts.begin(*record) for _ in range(3)] == [1, 2, 3]
    assert await stores.attempts.begun(*record) == 3
    for other in (
        (f"{group}x", "chat.messages", 3, 41),
        (group, "tool.results", 3, 41),
        (group, "chat.messages", 4, 41),
        (group, "chat.messages", 3, 42),
    ):
        assert await stores.attempts.begun(*other) == 0
        assert await stores.attempts.begin(*other) == 1


async def test_count_survives_its_process(stores: Stores, state_url: str, group: str) -> None:
    await stores.attempts.begin(group, "chat.messages", 0, 0)
    again = marked(state_url)
    await again.open()
    assert await again.attempts.begin(group, "chat.messages", 0, 0) == 2
    await again.close()


async def test_forgotten_record_begins_anew_and_others_do_not(stores: Stores, group: str) -> None:
    for offset in (1, 2, 2):
        await stores.attempts.begin(group, "chat.messages", 0, offset)
    await stores.attempts.forget(group, "chat.messages", 0, 1)
    await stores.attempts.forget(group, "chat.messages", 0, 99)
    assert await stores.attempts.begin(group, "chat.messages", 0, 1) == 1
    assert await stores.attempts.begin(group, "chat.messages", 0, 2) == 3


async def test_concurrent_attempts_are_all_counted(stores: Stores, group: str) -> None:
    counts = await asyncio.gather(*(stores.attempts.begin(group, "chat.messages", 0, 5) for _ in range(8)))
    assert sorted(counts) == list(range(1, 9))
