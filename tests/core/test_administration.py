"""Who may do what to tenants, users, keys and the audit trail, whichever way he comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.identities import LinkedIdentity
from core.installation_keys import InstallationKeys
from core.login_attempts import LoginAttempt
from core.principal import OPERATOR, SCOPES, Principal
from core.refusals import Conflict, Expired, Forbidden, Invalid, Missing
from core.store_core import StoreCore
from core.tenant_settings import TenantChange
from core.user_settings import UserChange
from schemas import IdentityProvider
from state import Stores

ANA = Principal("acme", "ana")
ADMINISTRATOR = Principal("acme", "boss", (*SCOPES, "admin"))
PROVIDER = IdentityProvider(name="test", issuer="https://issuer", client_id="cauce", audience="api")

UseCase = Callable[[StoreCore, Principal, str], Awaitable[Any]]


def unchecked(_: str) -> None:
    """Any name of a model is known."""


async def exported(core: StoreCore, by: Principal, tenant: str) -> list[Any]:
    return [row async for row in core.audit.export(by, tenant)]


async def linked(core: StoreCore, by: Principal, tenant: str) -> LinkedIdentity:
    await core.tenants.put_provider(OPERATOR, tenant, PROVIDER)
    return await core.identities.link(by, tenant, "bob", provider_name="test", subject="123")


async def unlinked(core: StoreCore, by: Principal, tenant: str) -> None:
    await core.identities.unlink(by, tenant, (await linked(core, OPERATOR, tenant)).link_id)


async def removed_provider(core: StoreCore, by: Principal, tenant: str) -> None:
    await core.tenants.put_provider(by, tenant, PROVIDER)
    await core.ends.remove_provider(by, tenant, PROVIDER.name)


OF_A_TENANT: dict[str, UseCase] = {
    "get": lambda core, by, tenant: core.tenants.get(by, tenant),
    "change": lambda core, by, tenant: core.tenants.change(by, tenant, TenantChange(name="x"), check_model=unchecked),
    "provider": lambda core, by, tenant: core.tenants.put_provider(by, tenant, PROVIDER),
    "provider removed": lambda core, by, tenant: removed_provider(core, by, tenant),
    "user added": lambda core, by, tenant: core.ends.add_user(by, tenant, f"new-{by.user_id}"),
    "user blocked": lambda core, by, tenant: core.ends.block(by, tenant, "bob"),
    "user unblocked": lambda core, by, tenant: core.ends.unblock(by, tenant, "bob"),
    "user signed out": lambda core, by, tenant: core.ends.sign_out(by, tenant, "bob"),
    "sessions": lambda core, by, tenant: core.ends.sessions(by, tenant, "bob"),
    "sessions ended": lambda core, by, tenant: core.sessions.end_all(by, tenant, "bob"),
    "keys of a user": lambda core, by, tenant: core.ends.keys(by, tenant, "bob"),
    "pause": lambda core, by, tenant: core.ends.pause(by, tenant),
    "resume": lambda core, by, tenant: core.ends.resume(by, tenant),
    "close": lambda core, by, tenant: core.ends.close(by, tenant),
    "users": lambda core, by, tenant: core.users.all(by, tenant),
    "user": lambda core, by, tenant: core.users.get(by, tenant, "bob"),
    "user set": lambda core, by, tenant: core.users.change(by, tenant, "bob", UserChange(name="Bob")),
    "key": lambda core, by, tenant: core.keys.create(by, tenant, "bob"),
    "keys": lambda core, by, tenant: core.keys.list(by, tenant),
    "link": lambda core, by, tenant: core.sessions.link(by, tenant, "bob"),
    "identities": lambda core, by, tenant: core.identities.all(by, tenant),
    "identity link": lambda core, by, tenant: linked(core, by, tenant),
    "identity unlink": lambda core, by, tenant: unlinked(core, by, tenant),
    "audit": lambda core, by, tenant: core.audit.tail(by, tenant, limit=1),
    "audit of a user": lambda core, by, tenant: core.audit.tail(by, tenant, limit=1, user_id="bob"),
    "audit export": exported,
}
OF_ALL: dict[str, UseCase] = {
    "add": lambda core, by, tenant: core.tenants.add(by, f"{tenant}-2"),
    "list": lambda core, by, tenant: core.tenants.all(by),
    "ensure": lambda core, by, tenant: core.tenants.ensure(by, tenant),
}


@pytest.mark.parametrize("case", OF_A_TENANT)
async def test_a_tenant_is_its_administrators_and_the_operators(core: StoreCore, case: str) -> None:
    do = OF_A_TENANT[case]
    await do(core, OPERATOR, "acme")
    await do(core, ADMINISTRATOR, "acme")
    for stranger in (ANA, Principal("lumen", "ana", ADMINISTRATOR.scopes)):
        with pytest.raises(Forbidden):
            await do(core, stranger, "acme")


@pytest.mark.parametrize("case", OF_ALL)
async def test_the_installation_is_the_operators(core: StoreCore, case: str) -> None:
    for somebody in (ANA, ADMINISTRATOR):
        with pytest.raises(Forbidden):
            await OF_ALL[case](core, somebody, "acme")
    await OF_ALL[case](core, OPERATOR, "acme")


async def test_no_credential_administers_that_was_not_given_the_scope(core: StoreCore) -> None:
    with pytest.raises(Invalid, match="no scope 'everything'; there are read, write, approve, admin"):
        await core.keys.create(OPERATOR, "acme", "ana", scopes=("read", "everything"))
    made = await core.keys.create(OPERATOR, "acme", "ana")
    found = await core.keys.find(made.text)
    assert found is not None
    about = {"credential_id": made.key.key_id, "expires": made.key.expires_at, "issued": made.key.created_at}
    assert found == replace(ANA, scopes=frozenset(SCOPES), **about)
    with pytest.raises(Forbidden):
        await core.keys.list(found, "acme")
    made = await core.keys.create(OPERATOR, "acme", "boss", scopes=("admin",))
    boss = await core.keys.find(made.text)
    assert boss is not None
    assert len(await core.keys.list(boss, "acme")) == 2
    with pytest.raises(Forbidden):
        await core.keys.list(boss, "lumen")


async def test_a_user_changes_himself_where_the_credential_may_write(core: StoreCore) -> None:
    changed = await core.users.change(ANA, "acme", "ana", UserChange(name="Ana", time_zone="Europe/Madrid"))
    assert (changed.name, changed.time_zone) == ("Ana", "Europe/Madrid")
    assert await core.users.change(ANA, "acme", "ana", UserChange(time_zone="")) == changed.model_copy(
        update={"time_zone": None}
    )
    with pytest.raises(Forbidden):
        await core.users.change(replace(ANA, scopes=("read",)), "acme", "ana", UserChange(name="x"))
    assert (await core.users.get(replace(ANA, scopes=()), "acme", "ana")).name == "Ana"


async def test_what_is_not_there_and_what_is_there_already_is_refused(core: StoreCore) -> None:
    with pytest.raises(Conflict, match="exists already"):
        await core.tenants.add(OPERATOR, "acme")
    for what in (
        core.tenants.get(OPERATOR, "nobody"),
        core.keys.create(OPERATOR, "nobody", "ana"),
        core.keys.revoke(OPERATOR, "acme", "none"),
        core.users.change(OPERATOR, "nobody", "ana", UserChange()),
        core.providers.find("acme", "test"),
    ):
        with pytest.raises(Missing):
            await what
    for tenant in ("system", "No Such", ""):
        with pytest.raises(Invalid):
            await core.tenants.add(OPERATOR, tenant)


async def test_the_owner_of_an_embedded_system_is_made_once(core: StoreCore) -> None:
    await core.ensure_owner(OPERATOR, "home", "owner")
    await core.users.change(OPERATOR, "home", "owner", UserChange(name="Me"))
    await core.ensure_owner(OPERATOR, "home", "owner")
    (owner,) = await core.users.all(OPERATOR, "home")
    assert (owner.name, (await core.tenants.get(OPERATOR, "home")).version) == ("Me", 1)


async def test_a_paused_tenant_is_refused_to_its_callers_and_not_to_its_administrators(core: StoreCore) -> None:
    await core.tenants.change(ADMINISTRATOR, "acme", TenantChange(paused=True), check_model=unchecked)
    with pytest.raises(Forbidden, match="paused"):
        await core.tenants.of(ANA)
    assert (await core.tenants.get(ADMINISTRATOR, "acme")).paused


async def test_a_begun_login_is_finished_in_its_browser_at_its_provider(core: StoreCore, stores: Stores) -> None:
    attempts, attempt = core.login_attempts, LoginAttempt.new("acme", "test")
    sealed = await attempts.seal(attempt)
    another_gateway = StoreCore(stores).login_attempts
    assert await attempts.open("acme", "test", attempt.state, sealed) == attempt
    assert await another_gateway.open("acme", "test", attempt.state, sealed) == attempt
    assert attempt.verifier not in sealed
    for tenant, name, state, cookie in (
        ("lumen", "test", attempt.state, sealed),
        ("acme", "other", attempt.state, sealed),
        ("acme", "test", "another", sealed),
        ("acme", "test", "", sealed),
        ("acme", "test", "\u00e9", sealed),
        ("acme", "test", attempt.state, None),
        ("acme", "test", attempt.state, ""),
        ("acme", "test", attempt.state, "\u00e9"),
        ("acme", "test", attempt.state, sealed[:-4] + "AAAA"),
    ):
        with pytest.raises(Forbidden, match="not started in this browser"):
            await attempts.open(tenant, name, state, cookie)


async def test_who_begins_a_login_stores_nothing(core: StoreCore, stores: Stores) -> None:
    for _ in range(20):
        await core.login_attempts.seal(LoginAttempt.new("acme", "test"))
    assert await stores.credentials.kinds("acme") == []
    assert await stores.credentials.kinds("system") == ["installation_key"]
    assert len(await stores.credentials.list("system", "installation_key")) == 1


async def test_gateways_that_start_together_read_what_the_other_has_sealed(stores: Stores) -> None:
    one, other = InstallationKeys(stores.credentials), InstallationKeys(stores.credentials)
    sealed = await asyncio.gather(one.seal(b"x"), other.seal(b"x"))
    for keys in (one, other, InstallationKeys(stores.credentials)):
        keys._looked = float("-inf")
        assert [await keys.open(given, lifetime=timedelta(minutes=1)) for given in sealed] == [b"x", b"x"]


async def test_an_issuer_that_two_tenants_trust_for_one_audience_lets_nobody_in(
    core: StoreCore, stores: Stores
) -> None:
    await core.tenants.put_provider(OPERATOR, "acme", PROVIDER)
    assert await core.providers.trusting("https://issuer", ["api", "x"]) == ("acme", PROVIDER)
    assert await core.providers.trusting("https://issuer", ["cauce"]) is None
    await core.tenants.put_provider(OPERATOR, "lumen", PROVIDER)
    assert await StoreCore(stores).providers.trusting("https://issuer", ["api"]) is None


async def test_items_are_their_users_alone(core: StoreCore) -> None:
    await core.items.put(ANA, ("notes",), "a", {"text": "hello"}, lifetime=timedelta(hours=1))
    assert [item.key for item, _ in await core.items.search(ANA, (), {}, "hello", limit=9, offset=0)] == ["a"]
    for other in (Principal("acme", "bob"), Principal("lumen", "ana"), OPERATOR):
        assert await core.items.get(other, ("notes",), "a") is None
        assert await core.items.search(other, (), {}, None, limit=9, offset=0) == []
    reader = replace(ANA, scopes=("read",))
    for change in (
        core.items.put(reader, ("notes",), "a", {}, lifetime=None),
        core.items.delete(reader, ("notes",), "a"),
    ):
        with pytest.raises(Forbidden):
            await change
    with pytest.raises(Forbidden):
        await core.items.get(replace(ANA, scopes=("write",)), ("notes",), "a")


async def test_who_is_signed_out_everywhere_begins_again_with_a_new_credential(core: StoreCore) -> None:
    old = await core.keys.create(OPERATOR, "acme", "bob")
    session = await core.sessions.begin("acme", "bob", method="link")
    others = await core.keys.create(OPERATOR, "acme", "ana")
    await core.ends.sign_out(OPERATOR, "acme", "bob")
    assert await core.keys.find(old.text) is None
    assert await core.sessions.find(session) is None
    new = await core.keys.create(OPERATOR, "acme", "bob")
    for made in (new, others):
        found = await core.keys.find(made.text)
        assert found
        await core.access.admit(found)
    with pytest.raises(Expired, match="signed out"):
        await core.access.admit(replace(ANA, user_id="bob", issued=old.key.created_at))


async def test_a_closed_tenant_is_reopened_by_the_operator_alone(core: StoreCore) -> None:
    await core.ends.close(ADMINISTRATOR, "acme")
    with pytest.raises(Forbidden, match="closed"):
        await core.access.admit(ADMINISTRATOR)
    with pytest.raises(Forbidden):
        await core.ends.resume(ADMINISTRATOR, "acme")
    assert (await core.ends.resume(OPERATOR, "acme")).state == "active"


async def test_many_streams_of_a_credential_ask_the_store_once(core: StoreCore) -> None:
    made = await core.keys.create(OPERATOR, "acme", "bob")
    asked = 0
    found = await core.keys.find(made.text)
    assert found

    async def again() -> Principal | None:
        nonlocal asked
        asked += 1
        return found

    streams = [replace(found, again=again) for _ in range(100)]
    await asyncio.gather(*(core.access.still(one) for one in streams))
    assert asked == 1
