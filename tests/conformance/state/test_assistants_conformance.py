from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from state import AssistantRow, Stores


def row(version: int = 1, body: bytes = b"{}", assistant_id: str = "a1") -> AssistantRow:
    return AssistantRow(assistant_id, version, body)


async def test_assistant_that_does_not_exist_has_nothing(stores: Stores, tenant: str) -> None:
    assert await stores.assistants.get(tenant, "a1") is None
    assert await stores.assistants.versions(tenant, "a1") == []
    assert await stores.assistants.list(tenant) == []
    assert not await stores.assistants.choose(tenant, "a1", 1)
    assert not await stores.assistants.delete(tenant, "a1")
    assert not await stores.assistants.put(tenant, row(2), expected_version=1)
    assert await stores.assistants.list(tenant) == []


async def test_newest_version_is_the_current_one_and_all_are_kept(stores: Stores, tenant: str) -> None:
    rows = [row(1, bytes(range(256))), row(2, b""), row(3, b"three")]
    for n, version in enumerate(rows):
        assert await stores.assistants.put(tenant, version, expected_version=n)
        assert await stores.assistants.get(tenant, "a1") == version
    assert await stores.assistants.versions(tenant, "a1") == rows[::-1]
    assert await stores.assistants.list(tenant) == [rows[2]]


async def test_chosen_version_is_current_until_the_next_one_comes(stores: Stores, tenant: str) -> None:
    rows = [row(n, f"body {n}".encode()) for n in (1, 2, 3)]
    for version in rows:
        await stores.assistants.put(tenant, version, expected_version=version.version - 1)

    assert await stores.assistants.choose(tenant, "a1", 1)
    assert await stores.assistants.choose(tenant, "a1", 1)
    assert await stores.assistants.get(tenant, "a1") == rows[0]
    assert await stores.assistants.list(tenant) == [rows[0]]
    assert await stores.assistants.versions(tenant, "a1") == rows[::-1]
    for missing in (0, 4, -1):
        assert not await stores.assistants.choose(tenant, "a1", missing)
    assert await stores.assistants.get(tenant, "a1") == rows[0]

    assert not await stores.assistants.put(tenant, row(2, b"again"), expected_version=1)
    assert await stores.assistants.put(tenant, row(4, b"body 4"), expected_version=3)
    assert await stores.assistants.get(tenant, "a1") == row(4, b"body 4")


async def test_version_that_does_not_follow_on_the_expected_one_is_refused(stores: Stores, tenant: str) -> None:
    for version, expected_version in ((1, 1), (2, 0), (0, 0)):
        with pytest.raises(ValueError, match="must have version"):
            await stores.assistants.put(tenant, row(version), expected_version=expected_version)
    assert await stores.assistants.list(tenant) == []


async def test_of_writers_that_make_one_version_one_wins(stores: Stores, tenant: str) -> None:
    for version in (1, 2):
        rivals = [row(version, f"{version} by {n}".encode()) for n in range(10)]
        won = await asyncio.gather(
            *(stores.assistants.put(tenant, rival, expected_version=version - 1) for rival in rivals)
        )
        assert won.count(True) == 1
        assert await stores.assistants.get(tenant, "a1") == rivals[won.index(True)]
    assert [v.version for v in await stores.assistants.versions(tenant, "a1")] == [2, 1]


async def test_of_callers_that_delete_an_assistant_one_did_it(stores: Stores, tenant: str) -> None:
    await stores.assistants.put(tenant, row(), expected_version=0)
    assert (await asyncio.gather(*(stores.assistants.delete(tenant, "a1") for _ in range(10)))).count(True) == 1


async def test_assistants_are_listed_by_id_each_once(stores: Stores, tenant: str) -> None:
    names = ["b", "a-", "a", "Z", "ż", "b1"]
    for name in names:
        await stores.assistants.put(tenant, row(1, b"old", name), expected_version=0)
        await stores.assistants.put(tenant, row(2, name.encode(), name), expected_version=1)
    assert await stores.assistants.list(tenant) == [row(2, name.encode(), name) for name in sorted(names)]


async def test_deleted_assistant_is_gone_with_its_versions_and_can_be_made_anew(stores: Stores, tenant: str) -> None:
    await stores.assistants.put(tenant, row(1, b"one"), expected_version=0)
    await stores.assistants.put(tenant, row(2, b"two"), expected_version=1)
    await stores.assistants.put(tenant, row(1, b"other", "a2"), expected_version=0)

    assert await stores.assistants.delete(tenant, "a1")

    assert await stores.assistants.get(tenant, "a1") is None
    assert await stores.assistants.versions(tenant, "a1") == []
    assert not await stores.assistants.choose(tenant, "a1", 1)
    assert not await stores.assistants.put(tenant, row(3), expected_version=2)
    assert await stores.assistants.list(tenant) == [row(1, b"other", "a2")]
    assert not await stores.assistants.delete(tenant, "a1")

    assert await stores.assistants.put(tenant, row(1, b"anew"), expected_version=0)
    assert await stores.assistants.versions(tenant, "a1") == [row(1, b"anew")]


async def test_assistants_of_a_tenant_are_not_those_of_another(stores: Stores, tenant: str, other_tenant: str) -> None:
    await stores.assistants.put(tenant, row(1, b"mine"), expected_version=0)
    await stores.assistants.put(other_tenant, row(1, b"theirs"), expected_version=0)
    assert await stores.assistants.delete(other_tenant, "a1")
    assert await stores.assistants.get(other_tenant, "a1") is None
    assert await stores.assistants.get(tenant, "a1") == row(1, b"mine")


async def test_assistants_and_their_versions_come_in_pages_of_so_many_bytes(stores: Stores, tenant: str) -> None:
    body = b"x" * 10_000
    for n in range(12):
        await stores.assistants.put(tenant, row(1, body, f"a{n:02}"), expected_version=0)
        await stores.assistants.put(tenant, row(n + 2, body, "a00"), expected_version=n + 1)
    assert await stores.assistants.newest(tenant, "a00") == 13
    assert await stores.assistants.newest(tenant, "b") == 0

    async def pages(asks: Any, name: str) -> list[list[Any]]:
        found, bounds = [], dict[str, Any]()
        while True:
            page = await asks(limit=5, max_bytes=31_000, **bounds)
            found.append(list(page))
            if page.next is None:
                return found
            bounds = {name: page.next}

    listed = await pages(partial(stores.assistants.list, tenant), "after")
    assert max(len(page) for page in listed) == 3
    assert [one.assistant_id for page in listed for one in page] == [f"a{n:02}" for n in range(12)]
    versions = await pages(partial(stores.assistants.versions, tenant, "a00"), "before")
    assert max(len(page) for page in versions) == 3
    assert [one.version for page in versions for one in page] == list(range(13, 0, -1))


async def test_assistants_of_a_tenant_are_counted(stores: Stores, tenant: str) -> None:
    await stores.assistants.put(tenant, row(1, b"1"), expected_version=0)
    await stores.assistants.put(tenant, row(2, b"2"), expected_version=1)
    await stores.assistants.put(tenant, row(1, b"1", "a2"), expected_version=0)
    assert (await stores.assistants.count(tenant)).rows == 2
    await stores.assistants.delete(tenant, "a2")
    assert (await stores.assistants.count(tenant)).rows == 1
