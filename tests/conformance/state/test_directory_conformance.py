from __future__ import annotations

import asyncio

import pytest
from state_samples import NOON, at

from schemas import AgentSettings, ApprovalPolicy, ModelSettings, Tenant, User
from state import Stores


def a_tenant(tenant_id: str, version: int = 1, name: str = "Acme") -> Tenant:
    agent = AgentSettings(
        agent_id="mail",
        instructions="Be brief.\n'\"\x00👍",
        model=ModelSettings(name="openai:gpt", temperature=0.2),
        approvals=ApprovalPolicy(allow=("Gmail_List*",)),
    )
    return Tenant(tenant_id=tenant_id, name=name, created_at=NOON, version=version, agents=(AgentSettings(), agent))


async def test_tenant_is_read_back_as_it_was_put(stores: Stores, tenant: str) -> None:
    assert await stores.directory.tenant(tenant) is None
    assert await stores.directory.put_tenant(a_tenant(tenant), expected_version=0)
    assert await stores.directory.tenant(tenant) == a_tenant(tenant)


async def test_tenant_is_created_only_once(stores: Stores, tenant: str) -> None:
    assert await stores.directory.put_tenant(a_tenant(tenant), expected_version=0)
    assert not await stores.directory.put_tenant(a_tenant(tenant, name="other"), expected_version=0)
    assert await stores.directory.tenant(tenant) == a_tenant(tenant)


async def test_tenant_changes_only_from_the_version_that_was_read(stores: Stores, tenant: str) -> None:
    await stores.directory.put_tenant(a_tenant(tenant), expected_version=0)
    assert await stores.directory.put_tenant(a_tenant(tenant, 2, "two"), expected_version=1)
    assert not await stores.directory.put_tenant(a_tenant(tenant, 2, "lost"), expected_version=1)
    assert not await stores.directory.put_tenant(a_tenant(tenant, 9, "future"), expected_version=8)
    assert await stores.directory.tenant(tenant) == a_tenant(tenant, 2, "two")


async def test_tenant_that_does_not_exist_cannot_be_changed(stores: Stores, tenant: str) -> None:
    assert not await stores.directory.put_tenant(a_tenant(tenant, 2), expected_version=1)
    assert await stores.directory.tenant(tenant) is None


async def test_change_that_keeps_the_version_is_refused(stores: Stores, tenant: str) -> None:
    await stores.directory.put_tenant(a_tenant(tenant), expected_version=0)
    with pytest.raises(ValueError, match="must have a higher one"):
        await stores.directory.put_tenant(a_tenant(tenant, 1, "same"), expected_version=1)


async def test_of_concurrent_changes_of_a_tenant_one_wins(stores: Stores, tenant: str) -> None:
    names = [f"name {n}" for n in range(15)]
    created = await asyncio.gather(
        *(stores.directory.put_tenant(a_tenant(tenant, 1, name), expected_version=0) for name in names)
    )
    changed = await asyncio.gather(
        *(stores.directory.put_tenant(a_tenant(tenant, 2, name), expected_version=1) for name in names)
    )
    assert (created.count(True), changed.count(True)) == (1, 1)
    stored = await stores.directory.tenant(tenant)
    assert stored
    assert stored.name == names[changed.index(True)]


async def test_tenants_come_by_id(stores: Stores, tenant: str) -> None:
    mine = [f"{tenant}-{n}" for n in (3, 1, 2)]
    for tenant_id in mine:
        await stores.directory.put_tenant(a_tenant(tenant_id), expected_version=0)
    listed = [t.tenant_id for t in await stores.directory.tenants()]
    assert listed == sorted(listed)
    assert [tenant_id for tenant_id in listed if tenant_id in mine] == sorted(mine)


async def test_user_is_stored_replaced_and_listed_by_id(stores: Stores, tenant: str) -> None:
    assert await stores.directory.user(tenant, "ana") is None
    assert await stores.directory.users(tenant) == []
    ben = User(tenant_id=tenant, user_id="ben", created_at=NOON)
    ana = User(tenant_id=tenant, user_id="ana", name="Ana", created_at=at(1), approvals_allow=("Asana_*",))
    for user in (ben, ana.model_copy(update={"name": "old"}), ana):
        await stores.directory.put_user(user)
    assert await stores.directory.user(tenant, "ana") == ana
    assert await stores.directory.users(tenant) == [ana, ben]
