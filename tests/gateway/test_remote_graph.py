"""LangGraph's own `RemoteGraph` runs a hosted graph as it runs one of its own server, in both versions of its events."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from door import Door
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client, get_sync_client


@pytest.fixture
async def remote(door: Door, home_key: str) -> AsyncIterator[Any]:
    sync = get_sync_client(url=f"{door.url}/lg", api_key=home_key)
    async with get_client(url=f"{door.url}/lg", api_key=home_key) as client:
        yield lambda name: RemoteGraph(name, client=client, sync_client=sync)
    sync.http.client.close()


def of_thread() -> Any:
    return {"configurable": {"thread_id": str(uuid.uuid4())}}


async def test_classic_streams_ask_and_go_on(remote: Any) -> None:
    graph, config = remote("asks_inside"), of_thread()
    told = [p async for p in graph.astream({"answers": ["a"]}, config, stream_mode="updates", subgraphs=True)]
    assert [data for _, data in told][-1]["__interrupt__"][0]["value"] == {"question": "Which colour?"}
    assert (await graph.aget_state(config)).next == ("inside",)
    done = await graph.ainvoke(Command(resume="red"), config)
    assert done["answers"] == ["a", "a", "red", "more"]
    parts = [p async for p in remote("count").astream({"n": [5]}, of_thread(), stream_mode="values", version="v2")]
    assert [p["data"]["n"] for p in parts] == [[5], [5, 1], [5, 1, 10]]
    with pytest.raises(RemoteException, match="the well is dry"):
        await remote("quick_fail").ainvoke({"messages": []}, of_thread())


async def test_thread_centric_events_ask_and_go_on_by_a_raw_answer(remote: Any) -> None:
    graph, config = remote("asks_inside"), of_thread()
    async with await graph.astream_events({"answers": ["a"]}, config, version="v3") as run:
        [_ async for _ in run.values]
        assert await run.interrupted()
        assert [asked["value"] for asked in await run.interrupts()] == [{"question": "Which colour?"}]
    async with await graph.astream_events(Command(resume="red"), config, version="v3") as run:
        assert (await run.output())["answers"] == ["a", "a", "red", "more"]


async def test_thread_centric_events_show_each_channel(remote: Any) -> None:
    async with await remote("custom").astream_events({"n": [5]}, version="v3") as run:
        written = [item async for item in run.extensions["custom"]]
    assert written[0] == {"name": "progress", "step": "begun", "share": 0.5}
    async with await remote("count").astream_events({"n": [5]}, version="v3") as run:
        assert [item async for item in run.extensions["updates"]] == [{"one": {"n": [1]}}, {"ten": {"n": [10]}}]
    async with await remote("tool_agent").astream_events({"messages": [("user", "hi")]}, version="v3") as run:
        assert [(call.name, call.input) async for call in run.tool_calls] == [("look_up", {"what": "the sky"})]


def test_synchronous_remote_graph_does_the_same(remote: Any) -> None:
    graph, config = remote("asks_inside"), of_thread()
    assert "__interrupt__" in list(graph.stream({"answers": ["a"]}, config, stream_mode="updates"))[-1]
    assert graph.invoke(Command(resume="red"), config)["answers"] == ["a", "a", "red", "more"]
    with remote("deep").stream_events({"messages": [{"role": "user", "content": "hi"}]}, version="v3") as run:
        assert [one.graph_name for one in run.subgraphs] == ["research"]
