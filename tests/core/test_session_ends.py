"""How long browser sessions and keys live."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pytest

from core.api_keys import ApiKeys
from core.audit_writer import AuditWriter
from core.principal import OPERATOR
from core.sessions import IDLE, KIND, LIFETIME, SEEN_KIND, Sessions
from core.store_core import StoreCore
from schemas.common.clock import utc_now
from state import Stores

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def id_of(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


async def begun(stores: Stores, ago: timedelta, **more: object) -> str:
    """The cookie of a session that began so long ago."""
    cookie = await Sessions(stores.credentials, AuditWriter(stores.timers)).begin("acme", "ana", method="link")
    body = await stores.credentials.get("acme", KIND, id_of(cookie))
    assert body
    stored = json.loads(body) | {"created_at": (utc_now() - ago).isoformat(), **more}
    await stores.credentials.put(
        "acme", KIND, id_of(cookie), json.dumps(stored).encode(), expires=utc_now() + 720 * HOUR
    )
    return cookie


async def used(stores: Stores, cookie: str) -> None:
    """Some gateway has noted a use of it not long ago."""
    body = json.dumps({"user_id": "ana"}).encode()
    await stores.credentials.put("acme", SEEN_KIND, id_of(cookie), body, expires=utc_now() + HOUR)


@pytest.mark.parametrize(
    ("ago", "seen", "lives"),
    [
        (timedelta(0), False, True),
        (IDLE - MINUTE, False, True),
        (IDLE + MINUTE, False, False),
        (IDLE + MINUTE, True, True),
        (LIFETIME - MINUTE, True, True),
        (LIFETIME + MINUTE, True, False),
    ],
)
async def test_a_session_ends_after_hours_and_earlier_when_it_is_not_used(
    core: StoreCore, stores: Stores, ago: timedelta, seen: bool, lives: bool
) -> None:
    cookie = await begun(stores, ago)
    if seen:
        await used(stores, cookie)
    assert (await core.sessions.find(cookie) is not None) is lives
    assert (await stores.credentials.get("acme", KIND, id_of(cookie)) is not None) is lives


async def test_a_use_is_noted_for_all_gateways_and_revives_nothing(core: StoreCore, stores: Stores) -> None:
    cookie = await begun(stores, IDLE - MINUTE)
    assert await core.sessions.find(cookie)
    assert await stores.credentials.get("acme", SEEN_KIND, id_of(cookie))
    await Sessions(stores.credentials, AuditWriter(stores.timers)).end(cookie)
    assert await core.sessions.find(cookie) is None
    assert await stores.credentials.get("acme", KIND, id_of(cookie)) is None


async def test_a_session_of_an_older_version_ends_as_those_of_this_one_do(core: StoreCore, stores: Stores) -> None:
    later = (utc_now() + 720 * HOUR).isoformat()
    cookie = await begun(stores, HOUR, expires_at=later, id_token="a.b.c")
    found = await core.sessions.find(cookie)
    assert found
    assert found.expires
    assert found.expires <= utc_now() + LIFETIME - HOUR
    assert await core.sessions.find(await begun(stores, 24 * HOUR, expires_at=later)) is None


async def test_a_session_may_do_what_its_provider_allows(core: StoreCore) -> None:
    found = await core.sessions.find(await core.sessions.begin("acme", "ana", method="oidc:corp", scopes=("read", "x")))
    assert found
    assert (found.scopes, found.provider) == ({"read"}, "corp")


async def test_a_key_lives_ninety_days_unless_asked_for_otherwise(core: StoreCore, stores: Stores) -> None:
    made = await core.keys.create(OPERATOR, "acme", "ana")
    assert made.key.expires_at - made.key.created_at == timedelta(days=90)
    longer = await core.keys.create(OPERATOR, "acme", "ana", lifetime=timedelta(days=3650))
    found = await ApiKeys(stores.credentials, stores.directory, core.trail).find(longer.text)
    assert found
    assert found.expires == longer.key.expires_at
