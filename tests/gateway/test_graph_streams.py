"""Streams of hosted graphs, classic and thread-centric, on one gateway and on several."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import httpx
from door import Door, streamed, until_true
from langgraph_client import client, dropped, new_thread, put_together, says
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

__all__ = ["client"]

ALL_MODES: Any = ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints", "debug"]


async def test_graph_streams_in_all_modes_with_subgraphs_and_asks(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    told = [
        part
        async for part in client.runs.stream(
            thread, "helper", input=says("hi"), stream_mode=ALL_MODES, stream_subgraphs=True, stream_resumable=True
        )
    ]
    assert (told[0].event, told[-1].event) == ("metadata", "end")
    events = {p.event.partition("|")[0] for p in told}
    assert events == {
        "metadata",
        "values",
        "updates",
        "messages",
        "custom",
        "tasks",
        "checkpoints",
        "debug",
        "end",
    }
    inner = {p.event.partition("|")[2] for p in told} - {""}
    assert len(inner) == 1
    assert inner.pop().startswith("research:")
    assert {"name": "progress", "step": "planned"} in [p.data for p in told if p.event == "custom"]
    nodes = [next(iter(p.data)) for p in told if p.event == "updates"]
    assert nodes == ["plan", "call", "tools", "research", "__interrupt__"]

    asked = [p.data["__interrupt__"] for p in told if p.event == "values" and "__interrupt__" in p.data]
    assert asked == [p.data["__interrupt__"] for p in told if p.event == "updates" and "__interrupt__" in p.data]
    assert asked[0][0]["value"]["question"] == "Send it?"
    final = [p.data for p in told if p.event == "values"][-2]
    assert [m["type"] for m in final["messages"]] == ["human", "ai", "tool", "ai"]
    assert put_together(told)[final["messages"][-1]["id"]] == final["messages"][-1]["content"]

    shown = await client.threads.get(thread)
    assert (shown["status"], shown["values"]) == ("interrupted", final)
    assert [i for of_task in shown["interrupts"].values() for i in of_task] == asked[0]
    state = await client.threads.get_state(thread, subgraphs=True)
    assert (state["next"], state["values"]) == (["confirm"], final)
    assert state["tasks"][0]["interrupts"] == asked[0]


async def test_dropped_stream_of_a_graph_is_joined_elsewhere_without_gap_or_repeat(door: Door, home_key: str) -> None:
    modes: Any = ["messages-tuple", "values", "custom", "updates"]
    with door.another() as elsewhere:
        places = [f"{door.url}/lg", f"{elsewhere.url}/lg"]
        async with get_client(url=places[0], api_key=home_key) as here:
            thread, run, had = await dropped(here, "slow", modes, 4)
        for place, enough in ((places[1], 6), (places[0], 9), (places[1], 10**6)):
            async with get_client(url=place, api_key=home_key) as there:
                again = there.runs.join_stream(thread, run, stream_mode=modes, last_event_id=had[-1].id)
                fresh = 0
                async for part in again:
                    had.append(part)
                    fresh += part.event == "messages"
                    if fresh == enough:
                        break
                await again.aclose()  # type: ignore[attr-defined]
    assert [p.event for p in had if p.event == "custom"] == ["custom", "custom"]
    assert [next(iter(p.data)) for p in had if p.event == "updates"] == ["first", "second"]
    states = [p.data["messages"] for p in had if p.event == "values"]
    assert [len(s) for s in states] == [1, 2, 3]
    assert put_together(had) == {m["id"]: m["content"] for m in states[-1] if m["type"] == "ai"}
    assert sum(p.event == "messages" for p in had) > 12, "the text was to come in pieces on every connection"


async def test_stream_from_the_beginning_says_all_of_it_again(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    modes: Any = ["values", "updates", "messages-tuple", "custom"]
    first = [
        part
        async for part in client.runs.stream(
            thread, "helper", input=says("hi"), stream_mode=modes, stream_subgraphs=True, stream_resumable=True
        )
    ]
    run = first[0].data["run_id"]
    again = [p async for p in client.runs.join_stream(thread, run, stream_mode=modes, last_event_id="-1")]
    assert [p.event for p in again if p.event != "messages"][-1] == "end"
    for event in ("updates", "custom"):
        assert [p.data for p in again if p.event == event] == [p.data for p in first if p.event == event]
    assert put_together(again) == put_together(first)
    whole = [p.data for p in again if p.event == "values" and "__interrupt__" not in p.data]
    assert [p.data for p in first if p.event == "values" and "__interrupt__" not in p.data] == whole


async def test_failed_graph_is_an_error(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    told = [p async for p in client.runs.stream(thread, "broken", input=says("hi"))]
    assert [p.event for p in told][-2:] == ["error", "end"]
    assert told[-2].data == {"error": "RuntimeError", "message": "the well is dry"}
    assert "the well is dry" in told[-2].data["message"]
    assert (await client.threads.get(thread))["status"] == "error"
    failed: Any = await client.runs.wait(thread, "broken", input=says("hi"), raise_error=False)
    assert failed["__error__"] == {"error": "RuntimeError", "message": "the well is dry"}


async def test_thread_centric_stream_runs_a_graph_and_answers_its_interrupts(client: LangGraphClient) -> None:
    thread_id = str(uuid.uuid4())
    async with client.threads.stream(thread_id, assistant_id="both") as thread:
        await thread.run.start(input={"answers": []})
        async with asyncio.timeout(120):
            while len(thread.interrupts) < 2:
                await asyncio.sleep(0.05)
        for asked in list(thread.interrupts):
            await client.http.post(
                f"/threads/{thread_id}/commands",
                json={
                    "id": 7,
                    "method": "input.respond",
                    "params": {"interrupt_id": asked["interrupt_id"], "response": f"to {asked['value']}"},
                },
            )

            async def settled(one: str = asked["interrupt_id"]) -> bool:
                shown = await client.threads.get(thread_id)
                open_ones = [i["id"] for of in shown["interrupts"].values() for i in of]
                return shown["status"] != "busy" and one not in open_ones

            await until_true(settled)
        async with asyncio.timeout(120):
            values: Any = await thread.output
    assert sorted(values["answers"]) == ["left: to left", "right: to right"]


async def envelopes(
    client: httpx.AsyncClient, thread: str, *, follows: asyncio.Event | None = None, **more: Any
) -> list[dict[str, Any]]:
    """What a thread-centric stream tells until its run is over; says when it has begun to follow the thread."""
    channels = ["values", "updates", "messages", "custom", "tasks", "checkpoints", "lifecycle", "tools", "input"]
    body, found = {"channels": channels, **more}, []
    async with streamed(client, "POST", f"/lg/threads/{thread}/stream/events", json=body) as events:
        if follows:
            follows.set()
        async for event in events:
            found.append(json.loads(event.data))
            told = found[-1]
            if told["method"] == "lifecycle" and told["params"]["data"]["event"] in ("completed", "interrupted"):
                break
    return found


def kinds(told: list[dict[str, Any]]) -> dict[str, Any]:
    """Contents by id, without pieces of text, whose cuts differ; their sum is in the block's end."""
    return {
        e["event_id"]: e["params"]["data"] for e in told if e["params"]["data"].get("event") != "content-block-delta"
    }


async def test_thread_centric_streams_tell_the_same_on_every_gateway_live_and_later(door: Door, home_key: str) -> None:
    with door.another() as elsewhere:
        async with door.caller(home_key) as here, door.caller(home_key, elsewhere.url) as there:
            thread = (await here.post("/lg/threads", json={"graph_id": "slow"})).json()["thread_id"]
            both = {client: asyncio.Event() for client in (here, there)}
            live = [asyncio.create_task(envelopes(client, thread, follows=event)) for client, event in both.items()]
            for event in both.values():
                await event.wait()
            params = {"assistant_id": "slow", "input": says("write")}
            started = await here.post(
                f"/lg/threads/{thread}/commands", json={"id": 1, "method": "run.start", "params": params}
            )
            assert started.json()["type"] == "success"
            told = [*(await asyncio.gather(*live)), await envelopes(there, thread, since=0)]
            only = await envelopes(here, thread, since=0, channels=["custom:progress", "lifecycle"])
    for one in told:
        assert [e["seq"] for e in one] == sorted({e["seq"] for e in one})
    assert kinds(told[0]) == kinds(told[1]) == kinds(told[2])
    assert {e["method"] for e in only} == {"custom", "lifecycle"}
    for one in told:
        texts: dict[str, str] = {}
        for data in (e["params"]["data"] for e in one if e["method"] == "messages"):
            if data["event"] == "content-block-delta":
                texts[data["id"]] = texts.get(data["id"], "") + data["delta"]["text"]
            elif data["event"] == "content-block-finish":
                assert texts[data["id"]] == data["content"]["text"]
        assert len(texts) == 2
    assert sum(e["params"]["data"].get("event") == "content-block-delta" for e in told[0]) > 10
