from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from state_samples import until_none

from state import BadItem, Stores, Usage, search_items


async def keys_below(stores: Stores, tenant: str, *prefix: str, user: str = "ana") -> list[tuple[tuple[str, ...], str]]:
    return [(item.namespace, item.key) async for item in stores.items.below(tenant, user, prefix)]


async def test_item_is_read_back_and_replaced_and_keeps_when_it_was_made(stores: Stores, tenant: str) -> None:
    value: dict[str, Any] = {"text": "é\u0000😀", "n": [1, 2.5, None, {"deep": True}]}
    await stores.items.put(tenant, "ana", ["memories", "home"], "k", {"old": 1})
    first = await stores.items.get(tenant, "ana", ["memories", "home"], "k")
    await stores.items.put(tenant, "ana", ["memories", "home"], "k", value)
    found = await stores.items.get(tenant, "ana", ["memories", "home"], "k")
    assert first
    assert found
    assert (found.namespace, found.key, found.value) == (("memories", "home"), "k", value)
    assert found.created_at == first.created_at <= first.updated_at <= found.updated_at
    assert await stores.items.get(tenant, "ana", ["memories"], "k") is None
    assert await stores.items.get(tenant, "ben", ["memories", "home"], "k") is None


async def test_deleted_item_is_gone_and_deleting_it_again_is_nothing(stores: Stores, tenant: str) -> None:
    await stores.items.put(tenant, "ana", ["a"], "k", {})
    await stores.items.delete(tenant, "ana", ["a"], "k")
    await stores.items.delete(tenant, "ana", ["a"], "k")
    assert await stores.items.get(tenant, "ana", ["a"], "k") is None


async def test_prefix_means_whole_labels(stores: Stores, tenant: str) -> None:
    for namespace in (["a"], ["a", "b"], ["a", "b", "c"], ["a-"], ["ab"], ["a", "bc"], ["A"], ["z😀"]):
        await stores.items.put(tenant, "ana", namespace, "k", {})
    await stores.items.put(tenant, "ben", ["a"], "his", {})
    assert await keys_below(stores, tenant, "a", "b") == [(("a", "b"), "k"), (("a", "b", "c"), "k")]
    assert [n for n, _ in await keys_below(stores, tenant, "a")] == [("a",), ("a", "b"), ("a", "b", "c"), ("a", "bc")]
    assert len(await keys_below(stores, tenant)) == 8
    assert await keys_below(stores, tenant, user="eve") == []


async def test_many_items_are_all_listed_in_order(stores: Stores, tenant: str) -> None:
    for n in range(1100):
        await stores.items.put(tenant, "ana", ["many", f"n{n % 3}"], f"{n:04}", {"n": n})
    found = await keys_below(stores, tenant, "many")
    assert found == sorted((("many", f"n{n % 3}"), f"{n:04}") for n in range(1100))


async def test_namespaces_are_listed_each_once(stores: Stores, tenant: str) -> None:
    for n in range(30):
        for namespace in (["a"], ["a", "b"], ["a-"], ["ab"], ["b", f"n{n:02}"]):
            await stores.items.put(tenant, "ana", namespace, f"k{n % 2}", {})
    names = [name async for name in stores.items.names(tenant, "ana", ())]
    assert names == [("a",), ("a-",), ("a", "b"), ("ab",), *(("b", f"n{n:02}") for n in range(30))]
    assert [name async for name in stores.items.names(tenant, "ana", ("a",))] == [("a",), ("a", "b")]
    assert [name async for name in stores.items.names(tenant, "eve", ())] == []


async def test_search_keeps_no_more_than_its_page_of_large_items(stores: Stores, tenant: str) -> None:
    for n in range(12):
        text = "x " * 50_000 + ("needle" if n % 2 else "hay")
        await stores.items.put(tenant, "ana", ["a"], f"k{n:02}", {"text": text, "n": n})

    async def search(**wanted: Any) -> tuple[list[str], Any]:
        bounds = {"conditions": {}, "limit": 10} | wanted
        page = await search_items(stores.items, tenant, "ana", ["a"], **bounds)
        return [item.key for item, _ in page], page.next

    assert await search() == ([f"k{n:02}" for n in range(11, 1, -1)], 10)
    assert await search(offset=10) == (["k01", "k00"], None)
    assert await search(query="the needle", limit=20) == ([f"k{n:02}" for n in range(11, 0, -2)], None)
    assert await search(conditions={"n": {"$gte": 9}}) == (["k11", "k10", "k09"], None)
    assert await search(max_bytes=250_000) == (["k11", "k10"], 2)
    assert await search(max_bytes=1, offset=2) == (["k09"], 3)
    with pytest.raises(BadItem):
        await search(offset=10_000)


async def test_expired_item_is_gone_for_every_reader(stores: Stores, tenant: str) -> None:
    await stores.items.put(tenant, "ana", ["a"], "k", {}, expires=datetime.now(UTC) + timedelta(seconds=1))
    await until_none(lambda: stores.items.get(tenant, "ana", ["a"], "k"))
    assert await keys_below(stores, tenant) == []


@pytest.mark.parametrize("namespace", [[], [""], ["a.b"], ["a"] * 11, ["x" * 201]])
async def test_namespace_that_cannot_be_is_refused(stores: Stores, tenant: str, namespace: list[str]) -> None:
    with pytest.raises(BadItem):
        await stores.items.put(tenant, "ana", namespace, "k", {})
    assert await keys_below(stores, tenant) == []


async def test_items_of_a_user_are_counted_with_their_bytes(stores: Stores, tenant: str) -> None:
    assert await stores.items.count(tenant, "ana") == Usage(0, 0)
    await stores.items.put(tenant, "ana", ["a"], "k", {"text": "x" * 10_000})
    await stores.items.put(tenant, "ana", ["b"], "k", {"text": "x" * 20_000})
    await stores.items.put(tenant, "ana", ["b"], "k", {"text": "x" * 5_000})
    await stores.items.put(tenant, "ben", ["b"], "k", {})
    found = await stores.items.count(tenant, "ana")
    assert found.rows == 2
    assert 15_000 < found.size < 16_000
    await stores.items.delete(tenant, "ana", ["a"], "k")
    assert (await stores.items.count(tenant, "ana")).rows == 1
