"""What an administrator does over `/v1/admin` counts for the next request of whomever it concerns, and for nobody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from connectors.gateway.app import make_app, make_core
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.gateway_options import GatewayOptions
from connectors.graphs import Graphs
from core.principal import ALL_SCOPES, OPERATOR
from state import Stores, open_stores


def _core(stores: Stores) -> GatewayCore:
    return make_core("127.0.0.1:1", stores, GatewayOptions(), CollectorRegistry(), Graphs({}))


class People:
    """An administrator of `acme`, two users of it and one of another tenant, whose gateways know nothing of before."""

    def __init__(self, stores: Stores, keys: dict[str, str], session: str) -> None:
        self._stores, self.keys, self.session = stores, keys, session
        self._app: Any = None

    @classmethod
    async def made(cls, stores: Stores) -> People:
        core, keys = _core(stores), {}
        for tenant in ("acme", "lumen"):
            await core.tenants.add(OPERATOR, tenant)
        for name, tenant, scopes in (
            ("boss", "acme", ALL_SCOPES),
            ("ana", "acme", ("read", "write")),
            ("bob", "acme", ("read", "write")),
            ("bob of lumen", "lumen", ("read", "write")),
        ):
            keys[name] = (await core.keys.create(OPERATOR, tenant, name.split()[0], scopes=scopes)).text
        return cls(stores, keys, await core.sessions.begin("acme", "bob", method="link"))

    async def asks(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """What a gateway answers that has cached nothing of before the last change."""
        if self._app is None:
            self._app = make_app(_core(self._stores))
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        headers = {"x-api-key": self.keys[who]}
        async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers) as client:
            return await client.request(method, path, json=body)

    async def told(self, method: str, path: str, body: Any = None) -> Any:
        """What the administrator is answered."""
        answer = await self.asks("boss", method, f"/v1/admin{path}", body)
        assert answer.is_success, answer.text
        if method != "GET":
            self._app = None
        return answer.json() if answer.content else None

    async def may(self, *, threads: bool = False) -> dict[str, int | str]:
        """For each who is no administrator, the status of a read, or the code of its refusal."""
        found: dict[str, int | str] = {}
        for who in ("ana", "bob", "bob of lumen"):
            answer = await self.asks(who, "GET", "/v1/threads") if threads else await self.asks(who, "GET", "/v1/me")
            found[who] = answer.json()["code"] if answer.is_error else answer.status_code
        return found

    async def has_session(self) -> bool:
        return await _core(self._stores).sessions.find(self.session) is not None


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[People]:
    stores = open_stores(f"sqlite://{tmp_path}")
    await stores.open()
    await stores.migrate()
    yield await People.made(stores)
    await stores.close()


ALL = {"ana": 200, "bob": 200, "bob of lumen": 200}


async def test_keys_and_sessions_of_a_user_are_listed_without_their_secrets_and_ended(people: People) -> None:
    assert await people.may() == ALL
    assert await people.has_session()
    for kind, secret in (("keys", people.keys["bob"]), ("sessions", people.session)):
        listed = await people.asks("boss", "GET", f"/v1/admin/users/bob/{kind}")
        assert len(listed.json()[kind]) == 1
        assert secret not in listed.text
    await people.told("DELETE", "/users/bob/sessions")
    assert not await people.has_session()
    await people.told("DELETE", "/users/bob/keys")
    assert await people.may() == {**ALL, "bob": "bad_credential"}
    assert (await people.told("GET", "/users/bob/keys"))["keys"] == []


async def test_a_user_is_blocked_unblocked_and_signed_out(people: People) -> None:
    await people.told("POST", "/users/bob/block")
    assert await people.may() == {**ALL, "bob": "user_blocked"}
    await people.told("POST", "/users/bob/unblock")
    assert await people.may() == ALL
    await people.told("POST", "/users/bob/sign-out")
    assert await people.may() == {**ALL, "bob": "bad_credential"}
    assert not await people.has_session()
    assert (await people.told("POST", "/users", {"user_id": "new"}))["user_id"] == "new"
    again = await people.asks("boss", "POST", "/v1/admin/users", {"user_id": "new"})
    assert (again.status_code, again.json()["code"]) == (409, "user_exists")
    assert {"bob", "new"} <= {user["user_id"] for user in (await people.told("GET", "/users"))["users"]}
    gone = await people.asks("boss", "DELETE", "/v1/admin/providers/nobody")
    assert gone.status_code == 404


async def test_a_tenant_is_paused_resumed_closed_and_erased(people: People) -> None:
    assert (await people.told("POST", "/tenant/pause"))["state"] == "paused"
    assert await people.may(threads=True) == ALL
    refused = await people.asks("ana", "POST", "/v1/threads", {})
    assert (refused.status_code, refused.json()["code"]) == (403, "tenant_paused")
    assert (await people.told("POST", "/tenant/resume"))["state"] == "active"
    await people.told("DELETE", "/users/bob")
    assert await people.may() == {**ALL, "bob": "user_blocked"}
    await people.told("DELETE", "/tenant")
    closed = {"ana": "tenant_closed", "bob": "tenant_closed", "bob of lumen": 200}
    assert await people.may(threads=True) == closed
    refused = await people.asks("boss", "POST", "/v1/admin/tenant/resume")
    assert (refused.status_code, refused.json()["code"]) == (403, "tenant_closed")
