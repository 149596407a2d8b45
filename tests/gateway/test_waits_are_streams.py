"""Waiting for a run is an open stream: it counts, is refused before anything is started, and ends when its client leaves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from door import Door, until_true
from gates import Gate, until

__all__ = ["until"]

MOST = 100


async def test_wait_beyond_the_limit_is_refused_before_its_run_is_started(door: Door, until: Gate) -> None:
    async with door.caller(door.key("home", "waiter")) as waiter, door.caller(door.key("home", "waiter2")) as other:
        thread = (await waiter.post("/lg/threads", json={})).json()["thread_id"]
        given = {"assistant_id": "task", "input": {"until": until.file}}
        run = (await waiter.post(f"/lg/threads/{thread}/runs", json=given)).json()["run_id"]
        join = f"/v1/threads/{thread}/runs/{run}/join"
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=door.url, headers=waiter.headers, limits=limits, timeout=120, trust_env=False
        ) as many:
            asked = [many.send(many.build_request("GET", join), stream=True) for _ in range(MOST)]
            waits = await asyncio.gather(*asked)
            assert {one.status_code for one in waits} == {200}, "their headers come when they are open"
            threads = await _threads(waiter)
            agui = {"threadId": thread, "runId": "r1", "messages": [], "state": {}, "tools": [], "context": []}
            for path, body in (
                (f"/v1/threads/{thread}/runs/wait", {"text": "hello"}),
                (f"/v1/threads/{thread}/runs/stream", {"text": "hello"}),
                (f"/lg/threads/{thread}/runs/wait", given),
                (f"/lg/threads/{thread}/runs/stream", given),
                ("/lg/runs/wait", given),
                ("/lg/runs/stream", given),
                ("/agui", {**agui, "forwardedProps": {}}),
            ):
                refused = await waiter.post(path, json=body)
                assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams"), path
                assert refused.headers["retry-after"]
            runs = (await waiter.get(f"/v1/threads/{thread}/runs")).json()["runs"]
            assert [one["run_id"] for one in runs] == [run]
            assert await _threads(waiter) == threads
            assert (await other.post("/v1/threads", json={})).status_code == 201
            for one in waits[:10]:
                await one.aclose()

            async def has_room() -> bool:
                return (await waiter.get(f"{join}?timeout=0")).status_code == 200

            await until_true(has_room, 120)
            until.open()
            for one in waits[10:]:
                await one.aread()
                assert one.json()["status"] == "completed"


async def test_thread_of_a_stateless_run_has_an_end_whatever_happens_to_its_gateway(door: Door, until: Gate) -> None:
    async with door.caller(door.key("home", "stateless")) as caller:
        body = {"assistant_id": "task", "input": {"until": until.file}}
        for more, minutes in (({}, 60), ({"after_seconds": 7200}, 180)):
            with door.another() as gateway:
                run = (await caller.post(f"{gateway.url}/lg/runs", json=body | more)).json()
            assert gateway.process.poll() is not None, "it was killed"
            thread: Any = (await caller.get(f"/lg/threads/{run['thread_id']}?include=ttl")).json()
            ends = datetime.fromisoformat(thread["ttl"]["expires_at"])
            assert timedelta(minutes=minutes - 10) < ends - datetime.now(UTC) <= timedelta(minutes=minutes)
        kept = (await caller.post("/lg/runs", json=body | {"on_completion": "keep"})).json()
        assert not (await caller.get(f"/lg/threads/{kept['thread_id']}?include=ttl")).json().get("ttl")
        until.open()


async def _threads(client: httpx.AsyncClient) -> set[str]:
    return {one["thread_id"] for one in (await client.get("/v1/threads")).json()["threads"]}
