"""What people do at the door, and what the operator does beside it, is in the audit trail, with who did it and how."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from door import Door, until_true


def of_action(events: list[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    return [event for event in events if event["action"] == action]


async def exported(door: Door, tenant: str) -> list[dict[str, Any]]:
    lines = await asyncio.to_thread(door.told, "audit", "export", "--tenant", tenant)
    return [json.loads(line) for line in lines.splitlines()]


async def test_keys_sign_ins_and_refusals_are_in_the_trail_with_their_credentials(door: Door) -> None:
    tenant = door.tenant()
    boss_key = door.key(tenant, "boss", "--scope", "admin")
    ben_key = door.key(tenant, "ben")
    link = next(word for word in door.told("login", "--user", "ben", "--tenant", tenant).split() if "link=" in word)
    async with httpx.AsyncClient(base_url=door.url, timeout=120, trust_env=False) as browser:
        assert (
            await browser.post("/login", data={"link": parse_qs(urlsplit(link).query)["link"][0]})
        ).status_code == 303
        thread = await browser.post("/v1/threads", json={}, headers={"x-cauce-request": "1"})
        assert thread.is_success, thread.text
    async with door.caller(ben_key) as ben, door.caller(boss_key) as boss:
        refused = await ben.get("/v1/admin/audit")
        assert refused.status_code == 403
        found: list[dict[str, Any]] = []

        async def complete() -> bool:
            found[:] = (await boss.get("/v1/admin/audit", params={"limit": 200})).json()["events"]
            wanted = {
                "tenant.added",
                "key.made",
                "login_link.made",
                "session.begun",
                "thread.create",
                "request.refused",
            }
            return wanted <= {event["action"] for event in found}

        await until_true(complete, shown=lambda: [event["action"] for event in found])
    made = of_action(found, "key.made")
    assert {(event["actor"], event["credential"], event["user_id"]) for event in made} == {
        ("operator", "operator", "boss"),
        ("operator", "operator", "ben"),
    }
    (begun,) = of_action(found, "session.begun")
    (created,) = of_action(found, "thread.create")
    assert (created["actor"], created["user_id"]) == ("user:ben", "ben")
    assert created["credential"].startswith("session:")
    assert begun["credential"] == created["credential"]
    assert (begun["address"], created["address"]) == ("127.0.0.1", "127.0.0.1")
    assert created["request_id"] == thread.headers["x-request-id"]
    (no,) = of_action(found, "request.refused")
    assert (no["actor"], no["reason"], no["outcome"]) == ("user:ben", refused.json()["code"], "refused")
    assert (no["details"]["method"], no["details"]["path"]) == ("GET", "/v1/admin/audit")
    assert no["credential"] == "key:" + ben_key.split(".")[2]
    secrets = (boss_key.split(".")[3], ben_key.split(".")[3], link.rpartition("=")[2])
    assert not [secret for secret in secrets if secret in json.dumps(found)]


async def test_a_key_that_nobody_has_is_refused_in_the_trail_of_the_installation(door: Door) -> None:
    tenant = door.tenant()
    key = door.key(tenant, "ben")
    *before, key_id, secret = key.split(".")
    async with door.caller(".".join((*before, key_id, secret[::-1]))) as stranger:
        assert (await stranger.get("/v1/me")).status_code == 401

    async def noted() -> bool:
        refused = of_action(await exported(door, "system"), "request.refused")
        return any(
            event["credential"] == f"key:{tenant}/{key_id}" and event["actor"] == "anonymous" for event in refused
        )

    await until_true(noted)
    assert secret not in json.dumps(await exported(door, "system"))
    assert not of_action(await exported(door, tenant), "request.refused"), (
        "strangers write nothing into a tenant's trail"
    )
