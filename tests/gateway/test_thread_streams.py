"""The thread-centric streams of LangGraph's published Python client show hosted graphs whole: every projection, on both
transports, asynchronous and synchronous."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from door import Door
from langgraph_client import client, says
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import LangGraphClient

__all__ = ["client"]


async def items(source: Any, seconds: float = 120) -> list[Any]:
    """All that a projection shows until its run ends or pauses."""
    async with asyncio.timeout(seconds):
        return [item async for item in source]


async def whole(message: Any) -> dict[str, Any]:
    """A message as its stream shows it."""
    text, reasoning = await message.text, await message.reasoning
    output = await message.output
    return {"text": text, "reasoning": reasoning, "calls": output.tool_calls, "usage": output.usage_metadata}


@pytest.fixture(params=["sse", "websocket"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(client: LangGraphClient, home_key: str, transport: str) -> Any:
    """Opens a stream of a thread that is not there yet. A handshake carries only the headers that are given for it."""

    def open_stream(assistant: str, thread_id: str | None = None) -> Any:
        headers = {"authorization": f"Bearer {home_key}"} if transport == "websocket" else None
        kind: Any = transport
        return client.threads.stream(thread_id, assistant_id=assistant, headers=headers, transport=kind)

    return open_stream


TEXTS = {
    "chat": ("Hello there, friend.", ""),
    "thinking": ("Hello there, friend.", "let me think"),
    "blocks": ("Hello there.", "let me think"),
    "usage_on_text": ("I look it up", ""),
    "calls_only": ("", ""),
}


@pytest.mark.parametrize("graph", TEXTS)
async def test_messages_have_text_reasoning_calls_and_usage(opened: Any, graph: str) -> None:
    async with opened(graph) as thread:
        await thread.run.start(input=says("hi"))
        [message] = await items(thread.messages)
        shown = await whole(message)
    assert (shown["text"], shown["reasoning"]) == TEXTS[graph]
    assert (shown["usage"] or {}).get("total_tokens") == 15
    if graph in ("usage_on_text", "calls_only"):
        assert [(c["name"], list(c["args"])) for c in shown["calls"]] == [("look_up", ["what"])]


async def test_tool_calls_have_arguments_and_output(opened: Any) -> None:
    async with opened("tool_agent") as thread:
        await thread.run.start(input=says("hi"))
        [call] = await items(thread.tool_calls)
        output = await call.output
    assert (call.name, call.input, call.tool_call_id) == ("look_up", {"what": "the sky"}, "call-1")
    assert (output["type"], output["content"], output["status"]) == ("tool", "the sky is blue", "success")
    assert output["tool_call_id"] == "call-1"


async def test_tool_that_fails_is_an_error_beside_one_that_does_not(opened: Any) -> None:
    async with opened("tool_node") as thread:
        await thread.run.start(input=says("hi"))
        calls = {call.name: call for call in await items(thread.tool_calls)}
        assert (await calls["look_up"].output)["content"] == "grass is blue"
        with pytest.raises(RuntimeError, match="no luck here"):
            await calls["fail_at"].output


async def test_values_are_the_states_and_output_is_the_last(opened: Any) -> None:
    async with opened("count") as thread:
        await thread.run.start(input={"n": [5]})
        states = await items(thread.values)
        async with asyncio.timeout(120):
            output = await thread.output
    assert [5, 1, 10] == states[-1]["n"] == output["n"]
    assert [state["n"] for state in states[1:]] == [[5], [5, 1], [5, 1, 10]][-len(states) + 1 :]


async def test_subgraphs_are_found_two_deep_with_their_messages(opened: Any) -> None:
    async with opened("deep") as thread:
        await thread.run.start(input=says("hi"))
        [research] = await items(thread.subgraphs)
        [write] = await items(research.subgraphs)
        [message] = await items(write.messages)
        assert (await message.text, await items(research.messages)) == ("Deep down.", [])
        [summary] = await items(thread.messages)
        assert await summary.text == "To sum up."
    assert (research.graph_name, research.status, len(research.path)) == ("research", "completed", 1)
    assert (write.graph_name, write.status, write.path[:1]) == ("write", "completed", research.path)


async def test_lifecycle_tells_subgraphs_and_subagents_with_what_called_them(opened: Any) -> None:
    async with opened("team") as thread:
        await thread.run.start(input=says("hi"))
        told = [e["params"] for e in await items(thread.subscribe(["lifecycle"]))]
    lives = [(len(p["namespace"]), p["data"]["event"], p["data"]["graph_name"]) for p in told]
    inner = [(1, "started", "expert"), (1, "completed", "expert")]
    assert lives == [(0, "running", "team"), *inner, (0, "completed", "team")]
    begun = told[1]["data"]
    assert begun["namespace"] == told[1]["namespace"]
    assert begun["trigger_call_id"] == begun["namespace"][0].partition(":")[2]
    assert begun["cause"] == {"type": "toolCall", "tool_call_id": "call-9"}


async def test_subagent_of_a_deep_agent_streams_with_the_call_that_began_it(opened: Any) -> None:
    async with opened("deep_agent") as thread:
        await thread.run.start(input=says("hi"))
        [searcher] = await items(thread.subagents)
        [message] = await items(searcher.messages)
        assert (await message.text, searcher.status) == ("I found it.", "completed")
    async with opened("deep_agent") as thread:
        await thread.run.start(input=says("hi"))
        told = [e["params"]["data"] for e in await items(thread.subscribe(["lifecycle"]))]
    begun = next(one for one in told if one["event"] == "started")
    assert (begun["graph_name"], begun["cause"]["tool_call_id"]) == ("searcher", "call-t")


async def test_extensions_are_what_the_graph_wrote_by_name(opened: Any) -> None:
    async with opened("custom") as thread:
        await thread.run.start(input={"n": [5]})
        progress = await items(thread.extensions["progress"])
    assert [(p["name"], p["step"], p["share"]) for p in progress] == [
        ("progress", "begun", 0.5),
        ("progress", "done", 1),
    ]
    assert set(progress[0]) == {"name", "step", "share"}
    async with opened("custom") as thread:
        await thread.run.start(input={"n": [5]})
        written = [e["params"]["data"] for e in await items(thread.subscribe(["custom"]))]
    assert written[1:4] == [{"kind": "nameless"}, "only words", {"name": "score", "payload": {"points": 3}}]


async def test_interrupt_of_a_subgraph_is_answered(opened: Any) -> None:
    async with opened("asks_inside") as thread:
        await thread.run.start(input={"answers": ["a"]})
        await items(thread.values)
        [asked] = thread.interrupts
        assert thread.interrupted
        assert (asked["value"], asked["namespace"][0][:7]) == ({"question": "Which colour?"}, "inside:")
        await thread.run.respond("red")
        async with asyncio.timeout(120):
            assert (await thread.output)["answers"] == ["a", "a", "red", "more"]
        assert (thread.interrupted, thread.interrupts) == (False, [])


async def test_projections_come_interleaved_in_their_order(opened: Any) -> None:
    async with opened("tool_agent") as thread:
        await thread.run.start(input=says("hi"))
        found = await items(thread.interleave_projections(["messages", "tool_calls", "looking", "updates"]))
    assert [kind for kind, _ in found] == [
        "messages",
        "updates",
        "tool_calls",
        "looking",
        "updates",
        "messages",
        "updates",
    ]
    assert [item for kind, item in found if kind == "looking"] == [{"name": "looking", "what": "the sky"}]


@pytest.mark.parametrize("wait", [0, 0.5])
async def test_run_that_is_over_before_its_stream_is_opened_is_told(opened: Any, wait: float) -> None:
    async with opened("quick_fail") as thread:
        await thread.run.start(input=says("hi"))
        await asyncio.sleep(wait)
        with pytest.raises(RuntimeError, match="the well is dry"):
            async with asyncio.timeout(120):
                await thread.output
    async with opened("count") as thread:
        await thread.run.start(input={"n": [1]})
        await asyncio.sleep(wait)
        assert (await items(thread.values))[-1]["n"] == [1, 1, 10]


async def test_runs_of_a_session_are_told_one_after_the_other(opened: Any) -> None:
    async with opened("count") as thread:
        for n in (1, 2, 3):
            await thread.run.start(input={"n": [n]})
            assert (await items(thread.values))[-1]["n"] == [m for k in range(1, n + 1) for m in (k, 1, 10)]


async def test_input_of_a_thread_that_waits_is_the_answer(opened: Any) -> None:
    for answer in ("blue", {"answers": ["b"]}, 7):
        async with opened("asks_inside") as thread:
            await thread.run.start(input={"answers": ["a"]})
            await items(thread.values)
            await thread.run.start(input=answer)
            async with asyncio.timeout(120):
                assert (await thread.output)["answers"] == ["a", "a", answer, "more"]


async def test_agent_of_cauce_has_the_same_projections(opened: Any) -> None:
    async with opened("agent") as thread:
        await thread.run.start(input=says("What mail do I have?"))
        calls = await items(thread.tool_calls)
        assert [(await call.output)["status"] for call in calls] == ["success"] * len(calls)
        assert calls
        async with asyncio.timeout(120):
            output = await thread.output
    assert output["messages"][-1]["type"] == "ai"


def test_synchronous_client_shows_the_same(door: Door, home_key: str, transport: str) -> None:
    client = get_sync_client(url=f"{door.url}/lg", api_key=home_key)
    headers = {"authorization": f"Bearer {home_key}"} if transport == "websocket" else None
    kind: Any = transport

    def open_stream(assistant: str) -> Any:
        return client.threads.stream(assistant_id=assistant, headers=headers, transport=kind)

    with open_stream("thinking") as thread:
        thread.run.start(input=says("hi"))
        shown = [(str(m.text), str(m.reasoning), m.output.usage_metadata["total_tokens"]) for m in thread.messages]
    assert shown == [("Hello there, friend.", "let me think", 15)]
    with open_stream("tool_agent") as thread:
        thread.run.start(input=says("hi"))
        assert [(c.name, c.input, c.output["content"]) for c in thread.tool_calls] == [
            ("look_up", {"what": "the sky"}, "the sky is blue")
        ]
    with open_stream("deep") as thread:
        thread.run.start(input=says("hi"))
        [research] = list(thread.subgraphs)
        assert (research.graph_name, [one.graph_name for one in research.subgraphs]) == ("research", ["write"])
    with open_stream("custom") as thread:
        thread.run.start(input={"n": [1]})
        assert [p["step"] for p in thread.extensions["progress"]] == ["begun", "done"]
    with open_stream("asks_inside") as thread:
        thread.run.start(input={"answers": []})
        for _ in thread.values:
            pass
        assert [asked["value"] for asked in thread.interrupts] == [{"question": "Which colour?"}]
        thread.run.respond("red")
        assert thread.output["answers"] == ["red", "more"]
    with open_stream("quick_fail") as thread:
        thread.run.start(input=says("hi"))
        with pytest.raises(RuntimeError, match="the well is dry"):
            _ = thread.output
    client.http.client.close()
