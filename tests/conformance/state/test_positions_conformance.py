"""Positions of event sources are kept by account, and the last one stays."""

from __future__ import annotations

from state import Stores


async def test_a_position_is_what_was_put_last(stores: Stores, tenant: str) -> None:
    assert await stores.positions.get(tenant, "ana", "mail") is None
    for position in ("1", "2 of ünï", ""):
        await stores.positions.put(tenant, "ana", "mail", position)
        assert await stores.positions.get(tenant, "ana", "mail") == position


async def test_accounts_and_sources_have_positions_of_their_own(stores: Stores, tenant: str, other_tenant: str) -> None:
    places = [(tenant, "ana", "mail"), (tenant, "ana", "tasks"), (tenant, "eva", "mail"), (other_tenant, "ana", "mail")]
    for n, place in enumerate(places):
        await stores.positions.put(*place, str(n))
    assert [await stores.positions.get(*place) for place in places] == ["0", "1", "2", "3"]
    assert await stores.positions.users(tenant) == ["ana", "eva"]


async def test_a_source_can_have_one_position_for_the_whole_installation(stores: Stores, tenant: str) -> None:
    await stores.positions.put("", "", f"bot-of-{tenant}", "7")
    assert await stores.positions.get("", "", f"bot-of-{tenant}") == "7"
    assert await stores.positions.users(tenant) == []


async def test_what_is_erased_is_gone_and_nothing_else(stores: Stores, tenant: str) -> None:
    for user in ("ana", "eva"):
        await stores.positions.put(tenant, user, "mail", "1")
    await stores.positions.erase(tenant, "ana")
    assert await stores.positions.get(tenant, "ana", "mail") is None
    assert await stores.positions.get(tenant, "eva", "mail") == "1"
    assert await stores.positions.users(tenant) == ["eva"]
