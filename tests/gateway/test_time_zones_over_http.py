"""Where a user is, is told by the user, by the message or by the tenant, and what is no time zone is refused in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
from door import Door
from test_v1 import RULES_TASK, a_thread

EAST, WEST = "Pacific/Kiritimati", "Etc/GMT+12"
"""26 hours apart: it is never the same day in both."""


def tomorrow(zone: str) -> str:
    return (datetime.now(UTC).astimezone(ZoneInfo(zone)) + timedelta(days=1)).date().isoformat()


async def due_date(client: httpx.AsyncClient, **body: str) -> str:
    thread = await a_thread(client)
    told = (await client.post(f"/v1/threads/{thread}/runs/wait", json={"text": RULES_TASK, **body})).json()
    assert told["status"] == "paused", told
    waiting = (await client.get("/v1/approvals")).json()["approvals"]
    return str(next(call["arguments"]["due_date"] for call in waiting if call["thread_id"] == thread))


async def test_tomorrow_is_the_users_or_the_messages_tomorrow(door: Door) -> None:
    async with door.caller(door.key(door.tenant(), "zoe")) as zoe:
        assert (await zoe.get("/v1/me")).json()["time_zone"] is None
        for mine, other in ((EAST, WEST), (WEST, EAST)):
            changed = await zoe.patch("/v1/me", json={"time_zone": mine})
            assert (changed.status_code, changed.json()["time_zone"]) == (200, mine)
            assert (await zoe.get("/v1/me")).json()["time_zone"] == mine
            before = tomorrow(other)
            assert await due_date(zoe, time_zone=other) in (before, tomorrow(other))


async def test_what_is_no_time_zone_is_refused_in_words(ana: httpx.AsyncClient) -> None:
    thread = await a_thread(ana)
    config = {"configurable": {"time_zone": "Mars/Base"}}
    said = {"messages": [{"role": "user", "content": "hi"}]}
    for answer in (
        await ana.patch("/v1/me", json={"time_zone": "Mars/Base"}),
        await ana.post(f"/v1/threads/{thread}/messages", json={"text": "hi", "time_zone": "Mars/Base"}),
        await ana.post(f"/lg/threads/{thread}/runs", json={"assistant_id": "agent", "input": said, "config": config}),
        await ana.post(
            f"/lg/threads/{thread}/runs", json={"assistant_id": "agent", "input": said, "context": {"time_zone": 5}}
        ),
    ):
        assert answer.status_code == 422
        assert "is no time zone" in answer.text
    assert (await ana.get("/v1/me")).json()["time_zone"] is None
