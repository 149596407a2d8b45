"""The thread-centric protocol itself: commands, numbers to go on from, and the WebSocket with its refusals."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from door import Door, streamed
from langgraph_client import says
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

CHANNELS = ["values", "updates", "messages", "custom", "tasks", "checkpoints", "lifecycle", "tools", "input"]


async def command(ana: httpx.AsyncClient, thread: str, method: str, **params: Any) -> dict[str, Any]:
    done = await ana.post(f"/lg/threads/{thread}/commands", json={"id": 1, "method": method, "params": params})
    assert done.status_code == 200, done.text
    told: dict[str, Any] = done.json()
    return told


async def told(ana: httpx.AsyncClient, thread: str, *, enough: int = 10**6, **body: Any) -> list[dict[str, Any]]:
    """Envelopes of a thread until its newest run is over or pauses, or there are enough."""
    found: list[dict[str, Any]] = []
    async with streamed(
        ana, "POST", f"/lg/threads/{thread}/stream/events", json={"channels": CHANNELS, **body}
    ) as frames:
        async for frame in frames:
            found.append(json.loads(frame.data))
            if len(found) == enough or ends(found[-1]):
                break
    return found


def ends(envelope: dict[str, Any]) -> bool:
    params = envelope["params"]
    return bool(
        envelope["method"] == "lifecycle"
        and not params["namespace"]
        and params["data"]["event"] in ("completed", "failed", "interrupted")
    )


async def test_answer_takes_update_and_goto(ana: httpx.AsyncClient) -> None:
    thread = str(uuid.uuid4())
    await command(ana, thread, "run.start", assistant_id="asks_inside", input={"answers": ["a"]})
    asked = next(e for e in await told(ana, thread) if e["method"] == "input.requested")["params"]
    more = {"update": {"answers": ["updated"]}, "goto": "more"}
    interrupt = asked["data"]["interrupt_id"]
    params = {"namespace": asked["namespace"], "interrupt_id": interrupt, "response": "red", **more}
    done = await command(ana, thread, "input.respond", **params)
    assert done["type"] == "success"
    async with asyncio.timeout(120):
        assert (await told(ana, thread, since=done["meta"]["applied_through_seq"]))[-1]["params"]["data"][
            "event"
        ] == "completed"
    values = (await ana.get(f"/lg/threads/{thread}/state")).json()["values"]
    # As LangGraph's own server has it: the update, the subgraph's state with the answer, and the node gone to beside it.
    assert values["answers"] == ["a", "updated", "a", "red", "more", "more"]


async def test_thread_is_told_from_its_beginning_and_nothing_again_after_a_number(ana: httpx.AsyncClient) -> None:
    thread = str(uuid.uuid4())
    for _ in range(2):
        done = await command(ana, thread, "run.start", assistant_id="thinking", input=says("hi"))
        await ana.get(f"/lg/threads/{thread}/runs/{done['result']['run_id']}/join")
    whole: list[dict[str, Any]] = []
    async with streamed(ana, "POST", f"/lg/threads/{thread}/stream/events", json={"channels": CHANNELS}) as frames:
        async for frame in frames:
            whole.append(json.loads(frame.data))
            if sum(map(ends, whole)) == 2:
                break
    numbers = [e["seq"] for e in whole]
    assert numbers == sorted(set(numbers))
    assert [e["params"]["data"]["event"] for e in whole if e["method"] == "lifecycle"] == ["running", "completed"] * 2
    names = {e["params"]["data"]["graph_name"] for e in whole if e["method"] == "lifecycle"}
    assert names == {"thinking"}
    for n in range(0, len(whole) - 1, 3):
        if not ends(whole[n]):
            rest = await told(ana, thread, since=whole[n]["seq"], enough=len(whole) - n - 1)
            assert [e["event_id"] for e in rest] == [e["event_id"] for e in whole[n + 1 :]][: len(rest)]


async def test_run_is_told_as_its_graphs_after_the_assistant_that_started_it_was_deleted(
    ana: httpx.AsyncClient,
) -> None:
    thread = str(uuid.uuid4())
    made = (await ana.post("/lg/assistants", json={"graph_id": "thinking", "name": "For a day"})).json()["assistant_id"]
    run = (await command(ana, thread, "run.start", assistant_id=made, input=says("hi")))["result"]["run_id"]
    await ana.get(f"/lg/threads/{thread}/runs/{run}/join")
    before = await told(ana, thread)
    assert (await ana.delete(f"/lg/assistants/{made}")).is_success
    after = await told(ana, thread)
    assert [(e["event_id"], e["params"]["data"]) for e in after] == [
        (e["event_id"], e["params"]["data"]) for e in before
    ]
    assert {e["params"]["data"]["graph_name"] for e in after if e["method"] == "lifecycle"} == {"thinking"}


async def test_live_parts_do_not_come_again_after_their_number(ana: httpx.AsyncClient) -> None:
    thread = str(uuid.uuid4())
    await ana.post("/lg/threads", json={"thread_id": thread, "graph_id": "slow"})
    done = await command(ana, thread, "run.start", assistant_id="slow", input=says("write"))
    since, had = done["meta"]["applied_through_seq"], list[dict[str, Any]]()
    for enough in (12, 7, 9, 10**6):
        async with asyncio.timeout(120):
            had += await told(ana, thread, since=since, enough=enough)
        since = had[-1]["seq"]
    numbers = [e["seq"] for e in had]
    assert numbers == sorted(set(numbers))
    ids = [e["event_id"] for e in had]
    assert len(ids) == len(set(ids))
    texts: dict[str, str] = {}
    for data in (e["params"]["data"] for e in had if e["method"] == "messages"):
        if data["event"] == "content-block-delta":
            texts[data["id"]] = texts.get(data["id"], "") + data["delta"]["text"]
        elif data["event"] == "content-block-finish":
            assert texts[data["id"]] == data["content"]["text"]
    assert len(texts) == 2


async def test_end_of_an_earlier_run_is_not_told_for_that_of_the_one_that_goes(ana: httpx.AsyncClient) -> None:
    thread = str(uuid.uuid4())
    await command(ana, thread, "run.start", assistant_id="slow", input=says("one"))
    async with asyncio.timeout(120):
        await told(ana, thread)
        second = await command(ana, thread, "run.start", assistant_id="slow", input=says("two"))
        lives = [e for e in await told(ana, thread) if e["method"] == "lifecycle"]
    assert [e["params"]["data"]["event"] for e in lives] == ["running", "running", "completed"]
    assert second["result"]["run_id"] in lives[-1]["event_id"]


async def test_question_of_an_agent_is_told_to_whom_opens_the_stream_after_it(ana: httpx.AsyncClient) -> None:
    thread = str(uuid.uuid4())
    text = "create a task to call Ana tomorrow"
    started = await command(ana, thread, "run.start", assistant_id="agent", input=says(text))
    waits = await ana.get(f"/v1/threads/{thread}/runs/{started['result']['run_id']}/join")
    assert waits.json()["status"] == "paused"
    async with asyncio.timeout(120):
        (asked,) = [e["params"] for e in await told(ana, thread) if e["method"] == "input.requested"]
    assert asked["data"]["value"]["action_requests"][0]["name"] == "Asana_CreateTask"
    decided = {"decisions": [{"type": "approve"}]}
    params = {"namespace": asked["namespace"], "interrupt_id": asked["data"]["interrupt_id"], "response": decided}
    done = await command(ana, thread, "input.respond", **params)
    assert done["type"] == "success"
    await ana.get(f"/v1/threads/{thread}/runs/{started['result']['run_id']}/join")
    async with asyncio.timeout(120):
        methods = [e["method"] for e in await told(ana, thread)]
    assert "input.requested" not in methods, "it is answered"


async def test_question_of_an_agent_is_about_the_calls_that_still_wait(door: Door) -> None:
    tenant = door.tenant("--model", "scripted:tool=Gmail_SendEmail,calls=2")
    async with door.caller(door.key(tenant)) as ana:
        thread = str(uuid.uuid4())
        started = await command(ana, thread, "run.start", assistant_id="agent", input=says("write"))
        run = f"/v1/threads/{thread}/runs/{started['result']['run_id']}/join"
        first, second = (await ana.get(run)).json()["approvals"]
        decided = await ana.post(f"/v1/threads/{thread}/approvals/{first['call_id']}", json={"decision": "reject"})
        assert decided.status_code == 200
        async with asyncio.timeout(120):
            (asked,) = [e["params"]["data"] for e in await told(ana, thread) if e["method"] == "input.requested"]
        assert asked["value"]["call_ids"] == [second["call_id"]]
        params = {"interrupt_id": asked["interrupt_id"], "response": {"decisions": [{"type": "reject"}]}}
        assert (await command(ana, thread, "input.respond", **params))["type"] == "success"
        assert (await ana.get(run)).json()["status"] == "completed"


@asynccontextmanager
async def socket(door: Door, thread: str, headers: dict[str, str]) -> AsyncIterator[Any]:
    url = door.url.replace("http", "ws", 1)
    async with connect(f"{url}/lg/threads/{thread}/stream/events", additional_headers=headers, proxy=None) as opened:
        yield opened


async def ask(opened: Any, number: int, method: str, **params: Any) -> dict[str, Any]:
    """Sends a command; its answer, whatever is told before it."""
    await opened.send(json.dumps({"id": number, "method": method, "params": params}))
    async with asyncio.timeout(120):
        while True:
            found: dict[str, Any] = json.loads(await opened.recv())
            if found.get("id") == number:
                return found


async def end_of(opened: Any) -> int:
    """The code that a connection is closed with."""
    async with asyncio.timeout(120):
        try:
            while True:
                await opened.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 0


async def test_websocket_takes_commands_and_tells_the_thread(door: Door, home_key: str) -> None:
    async with socket(door, str(uuid.uuid4()), {"x-api-key": home_key}) as opened:
        found = await ask(opened, 1, "subscription.subscribe", channels=["lifecycle", "values"])
        assert found["type"] == "success"
        name = found["result"]["subscription_id"]
        assert (await ask(opened, 2, "run.start", assistant_id="count", input={"n": [5]}))["result"]["run_id"]
        async with asyncio.timeout(120):
            seen = [json.loads(await opened.recv())]
            while not ends(seen[-1]):
                seen.append(json.loads(await opened.recv()))
        assert [e["params"]["data"]["n"] for e in seen if e["method"] == "values"] == [[5], [5, 1], [5, 1, 10]]
        assert (await ask(opened, 3, "subscription.unsubscribe", subscription_id=name))["type"] == "success"
        assert (await ask(opened, 4, "subscription.unsubscribe", subscription_id=name))[
            "error"
        ] == "no_such_subscription"
        assert (await ask(opened, 5, "no.such", a=1))["error"] == "unknown_command"
        assert (await ask(opened, 6, "subscription.subscribe", channels=["nonsense"]))["error"] == "invalid_argument"
        await opened.send("{not json")
        async with asyncio.timeout(120):
            assert json.loads(await opened.recv())["type"] == "error"


async def test_websocket_without_a_credential_is_refused(door: Door) -> None:
    for headers in ({}, {"x-api-key": "ck.home.000000000000.wrong"}):
        with pytest.raises(InvalidStatus) as refused:
            async with socket(door, "t", headers):
                pass
        assert refused.value.response.status_code == 401


async def test_websocket_of_a_session_is_opened_by_our_own_page_alone(embedded: Door) -> None:
    door = embedded
    async with httpx.AsyncClient(trust_env=False, timeout=120) as browser:
        link = door.told("login").strip()
        await browser.post(httpx.URL(link).join("/login"), data={"link": httpx.URL(link).params["link"]})
        cookie = "; ".join(f"{c.name}={c.value}" for c in browser.cookies.jar)
    assert cookie
    thread = str(uuid.uuid4())
    for origin in ({}, {"origin": "https://evil.example"}):
        with pytest.raises(InvalidStatus) as refused:
            async with socket(door, thread, {"cookie": cookie, **origin}):
                pass
        assert refused.value.response.status_code == 403
    async with socket(door, thread, {"cookie": cookie, "origin": door.url}) as opened:
        assert (await ask(opened, 1, "run.start", assistant_id="count", input={"n": [1]}))["type"] == "success"


async def test_websocket_to_a_thread_of_somebody_else_is_closed_as_not_there(door: Door, home_key: str) -> None:
    thread = str(uuid.uuid4())
    async with door.caller(door.key("home", "ben")) as ben:
        await ben.post("/lg/threads", json={"thread_id": thread})
    async with socket(door, thread, {"x-api-key": home_key}) as opened:
        assert await end_of(opened) in (4404, 4409)


async def test_websocket_with_a_frame_that_is_too_large_is_closed(door: Door, home_key: str) -> None:
    async with socket(door, str(uuid.uuid4()), {"x-api-key": home_key}) as opened:
        await opened.send(json.dumps({"id": 1, "method": "run.start", "params": {"input": "x" * (2 << 20)}}))
        assert await end_of(opened) == 1009
