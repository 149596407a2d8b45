"""Titles in the metadata of LangGraph's clients come back equal; pages of allowed origins may call a private address."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from door import Door, Gateway

TITLES = ["x" * 300, "short", {"en": "x"}, ["a"], 5, True, ""]


@pytest.mark.parametrize("title", TITLES, ids=lambda title: repr(title)[:12])
async def test_a_title_in_metadata_is_read_back_equal_and_found(ana: httpx.AsyncClient, title: Any) -> None:
    made = (await ana.post("/lg/threads", json={"metadata": {"title": title, "graph_id": "nobody-hosts-it"}})).json()
    thread = made["thread_id"]
    kept = (await ana.get(f"/lg/threads/{thread}")).json()["metadata"]
    assert made["metadata"] == kept == {"title": title, "graph_id": "nobody-hosts-it"}
    found = await ana.post("/lg/threads/search", json={"metadata": {"title": title}, "ids": [thread]})
    assert [one["thread_id"] for one in found.json()] == [thread]
    own = (await ana.get(f"/v1/threads/{thread}")).json()["title"]
    assert own == (title[:200] if isinstance(title, str) else "")


@pytest.mark.parametrize("title", TITLES[2:], ids=lambda title: repr(title)[:12])
async def test_a_title_that_is_changed_is_read_back_equal_with_the_rest_of_the_change(
    ana: httpx.AsyncClient, title: Any
) -> None:
    made = await ana.post("/lg/threads", json={"metadata": {"title": "first"}})
    thread = made.json()["thread_id"]
    changed = await ana.patch(f"/lg/threads/{thread}", json={"metadata": {"title": title, "more": 1}})
    assert changed.json()["metadata"] == {"title": title, "more": 1}
    assert (await ana.get(f"/lg/threads/{thread}")).json()["metadata"] == {"title": title, "more": 1}


async def test_a_title_that_is_taken_away_is_gone_and_a_thread_can_be_renamed_over_either_api(
    ana: httpx.AsyncClient,
) -> None:
    thread = (await ana.post("/lg/threads", json={"metadata": {"title": "first"}})).json()["thread_id"]
    gone = await ana.patch(f"/lg/threads/{thread}", json={"metadata": {"title": None}})
    assert gone.json()["metadata"].get("title") is None
    await ana.patch(f"/lg/threads/{thread}", json={"metadata": {"title": "second"}})
    assert (await ana.get(f"/v1/threads/{thread}")).json()["title"] == "second"
    await ana.patch(f"/v1/threads/{thread}", json={"title": "third"})
    assert (await ana.get(f"/lg/threads/{thread}")).json()["metadata"]["title"] == "third"


@pytest.mark.parametrize("path", ["/v1/threads", "/lg/threads", "/agui"])
async def test_pages_of_allowed_origins_may_call_into_a_private_network_and_no_others(door: Door, path: str) -> None:
    settings = {**door.environment, "CAUCE_GATEWAY_ORIGINS": "https://chat.example"}
    gateway = Gateway(settings, door.folder / "origins.log")
    asked = {"access-control-request-method": "POST", "access-control-request-private-network": "true"}
    try:
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=120) as page:
            allowed = await page.options(path, headers={"origin": "https://chat.example", **asked})
            other = await page.options(path, headers={"origin": "https://else.example", **asked})
    finally:
        gateway.kill()
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-private-network"] == "true"
    assert other.status_code == 400
    assert "access-control-allow-private-network" not in other.headers
