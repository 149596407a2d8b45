"""LangGraph's store on a user's items."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp

from connectors.graphs import UserStore
from state import BadItem, Stores


async def test_items_are_kept_replaced_and_deleted(user_store: UserStore) -> None:
    await user_store.aput(("facts", "food"), "tea", {"likes": True, "since": datetime(2026, 1, 1, tzinfo=UTC)})
    found = await user_store.aget(("facts", "food"), "tea")
    assert found is not None
    assert found.value == {"likes": True, "since": "2026-01-01T00:00:00+00:00"}
    assert found.namespace == ("facts", "food")
    await user_store.aput(("facts", "food"), "tea", {"likes": False})
    again = await user_store.aget(("facts", "food"), "tea")
    assert again is not None
    assert again.value == {"likes": False}
    assert again.created_at == found.created_at
    await user_store.adelete(("facts", "food"), "tea")
    assert await user_store.aget(("facts", "food"), "tea") is None


async def test_nobody_sees_another_users_items(stores: Stores, user_store: UserStore) -> None:
    await user_store.aput(("facts",), "a", {"v": 1})
    for who in (("acme", "bob"), ("other", "ada")):
        other = UserStore(stores.items, *who)
        assert await other.aget(("facts",), "a") is None
        assert await other.asearch(()) == []
        assert await other.alist_namespaces() == []


async def test_search_goes_by_prefix_filter_words_and_page(user_store: UserStore) -> None:
    for number in range(5):
        await user_store.aput(("notes", "a"), f"n{number}", {"n": number, "text": f"green tea {number}"})
    await user_store.aput(("notes", "b"), "other", {"n": 9, "text": "black coffee"})
    await user_store.aput(("else",), "x", {"n": 9})
    assert len(await user_store.asearch(("notes",))) == 6
    assert {i.value["n"] for i in await user_store.asearch(("notes",), filter={"n": {"$gte": 3}})} == {3, 4, 9}
    assert [i.key for i in await user_store.asearch(("notes", "a"), filter={"n": 2})] == ["n2"]
    page = await user_store.asearch(("notes", "a"), limit=2, offset=4)
    assert [i.key for i in page] == ["n0"]
    best, *_ = await user_store.asearch(("notes",), query="coffee, black")
    assert (best.key, best.score) == ("other", 1.0)


async def test_namespaces_are_listed_by_conditions_and_depth(user_store: UserStore) -> None:
    for namespace in (("a", "b", "c"), ("a", "x", "c"), ("a", "b"), ("z",)):
        await user_store.aput(namespace, "k", {})
    assert await user_store.alist_namespaces() == [("a", "b"), ("a", "b", "c"), ("a", "x", "c"), ("z",)]
    assert await user_store.alist_namespaces(prefix=("a",), suffix=("c",)) == [("a", "b", "c"), ("a", "x", "c")]
    assert await user_store.alist_namespaces(prefix=("a", "*"), max_depth=2) == [("a", "b"), ("a", "x")]
    assert await user_store.alist_namespaces(limit=1, offset=3) == [("z",)]


async def test_a_batch_is_answered_in_its_order(user_store: UserStore) -> None:
    results = await user_store.abatch(
        [
            PutOp(("a",), "k", {"v": 1}),
            GetOp(("a",), "k"),
            SearchOp(("a",)),
            ListNamespacesOp(match_conditions=(MatchCondition("prefix", ("a",)),)),
            PutOp(("a",), "k", None),
            GetOp(("a",), "k"),
        ]
    )
    assert results[0] is None
    assert results[1].value == {"v": 1}  # type: ignore[union-attr]
    assert [item.key for item in results[2]] == ["k"]  # type: ignore[union-attr]
    assert results[3:] == [[("a",)], None, None]


async def test_item_is_gone_after_its_ttl_and_others_stay(user_store: UserStore) -> None:
    await user_store.aput(("a",), "short", {"v": 1}, ttl=1e-6)
    await user_store.aput(("a",), "long", {"v": 1}, ttl=10)
    async with asyncio.timeout(120):
        while await user_store.aget(("a",), "short"):
            await asyncio.sleep(0.01)
    assert [item.key for item in await user_store.asearch(("a",))] == ["long"]


async def test_plain_functions_use_it_from_their_threads(user_store: UserStore) -> None:
    await asyncio.to_thread(user_store.put, ("a",), "k", {"v": 1})
    found = await asyncio.to_thread(user_store.get, ("a",), "k")
    assert found is not None
    with pytest.raises(RuntimeError, match="use the async method"):
        user_store.get(("a",), "k")


async def test_what_cannot_be_is_refused_in_words(user_store: UserStore) -> None:
    with pytest.raises(BadItem, match="full stop"):
        await user_store.abatch([PutOp(("a.b",), "k", {})])
    await user_store.aput(("a",), "k", {"v": 1})
    with pytest.raises(BadItem, match="no operator"):
        await user_store.asearch(("a",), filter={"v": {"$like": 1}})
