"""The published Python client of the LangGraph Server API, unmodified, against `/lg`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from door import Door, until_true
from langgraph_client import chunks, client, dropped, says
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

__all__ = ["client"]

TASK = "create a task to call Ana tomorrow"


@pytest.fixture
async def slow(door: Door, slow_tenant: str) -> AsyncIterator[LangGraphClient]:
    """A person whose agent takes a second, and writes in pieces."""
    async with get_client(url=f"{door.url}/lg", api_key=door.key(slow_tenant, "lara")) as client:
        yield client


async def test_agents_are_assistants(client: LangGraphClient) -> None:
    (agent,) = await client.assistants.search(graph_id="agent")
    assert (await client.assistants.get(agent["assistant_id"]))["name"] == agent["name"]
    assert (await client.assistants.get("agent"))["assistant_id"] == agent["assistant_id"]
    again = await client.assistants.create("agent", if_exists="do_nothing")
    assert again["assistant_id"] == agent["assistant_id"]
    assert (await client.assistants.get_schemas("agent"))["graph_id"] == "agent"
    assert (await client.assistants.get_graph("agent"))["nodes"]
    with pytest.raises(NotFoundError):
        await client.assistants.get(str(uuid.uuid4()))


async def test_conversation_streams_in_all_modes_and_leaves_a_state(client: LangGraphClient) -> None:
    thread = (await client.threads.create(metadata={"mark": "x"}))["thread_id"]
    modes: Any = ["values", "updates", "messages-tuple", "custom"]
    told = [
        part
        async for part in client.runs.stream(
            thread, "agent", input=says("What mail do I have?"), stream_mode=modes, stream_resumable=True
        )
    ]
    assert told[0].event == "metadata"
    assert told[-1].event == "end"
    assert {p.event for p in told} == {"metadata", "values", "updates", "messages", "end"} | (
        {"custom"} & {p.event for p in told}
    )
    states = [p.data["messages"] for p in told if p.event == "values"]
    assert [len(s) for s in states] == [1, 2, 3, 4]
    assert [m["type"] for m in states[-1]] == ["human", "ai", "tool", "ai"]

    pieces = [p.data[0] for p in told if p.event == "messages" and p.data[0]["type"] == "AIMessageChunk"]
    final = states[-1][-1]
    assert "".join(c["content"] for c in pieces if c["id"] == final["id"]) == final["content"]
    assert {c["id"] for c in pieces} == {m["id"] for m in states[-1] if m["type"] == "ai"}

    state = await client.threads.get_state(thread)
    assert state["values"]["messages"] == states[-1]
    assert state["next"] == []
    history = await client.threads.get_history(thread)
    assert [len(s["values"]["messages"]) for s in history] == [4, 3, 2, 1, 0]
    checkpoint: Any = history[2]["checkpoint"]["checkpoint_id"]
    assert (await client.threads.get_state(thread, checkpoint_id=checkpoint))["values"] == history[2]["values"]


async def test_threads_are_found_by_their_graph_with_values(client: LangGraphClient) -> None:
    mark = uuid.uuid4().hex
    thread = (await client.threads.create(metadata={"mark": mark}))["thread_id"]
    await client.runs.wait(thread, "agent", input=says("hello there"))
    (found,) = await client.threads.search(metadata={"graph_id": "agent", "mark": mark})
    assert found["thread_id"] == thread
    assert found["values"]["messages"][0]["content"] == "hello there"
    assert await client.threads.count(metadata={"mark": mark}) == 1
    patched = await client.threads.update(thread, metadata={"mark": "other"})
    assert patched["metadata"]["mark"] == "other"
    with pytest.raises(ConflictError):
        await client.threads.create(thread_id=thread)
    assert (await client.threads.create(thread_id=thread, if_exists="do_nothing"))["thread_id"] == thread
    await client.threads.delete(thread)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread)


@pytest.mark.parametrize(
    ("decision", "status"),
    [
        ({"type": "approve"}, "success"),
        ({"type": "edit", "edited_action": {"name": "Asana_CreateTask", "args": {"name": "Call Eva"}}}, "success"),
        ({"type": "reject", "message": "not now"}, "error"),
        ({"type": "respond", "message": "it is done already"}, "success"),
    ],
)
async def test_interrupt_is_answered_by_a_command(client: LangGraphClient, decision: Any, status: str) -> None:
    thread = (await client.threads.create())["thread_id"]
    paused: Any = await client.runs.wait(thread, "agent", input=says(TASK))
    (asked,) = paused["__interrupt__"]
    assert asked["value"]["action_requests"][0]["name"] == "Asana_CreateTask"
    shown = await client.threads.get(thread)
    assert shown["status"] == "interrupted"
    assert [i for of_task in shown["interrupts"].values() for i in of_task] == [asked]
    assert (await client.threads.get_state(thread))["next"] == ["tools"]

    told = [part async for part in client.runs.stream(thread, "agent", command={"resume": {"decisions": [decision]}})]
    messages = [p.data["messages"] for p in told if p.event == "values"][-1]
    (tool,) = [m for m in messages if m["type"] == "tool"]
    assert (tool["status"], messages[-1]["type"]) == (status, "ai")
    assert (await client.threads.get(thread))["status"] == "idle"
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        await client.runs.wait(thread, "agent", command={"resume": {"decisions": [decision]}})


async def test_run_in_the_background_is_listed_joined_and_cancelled(slow: LangGraphClient) -> None:
    thread = (await slow.threads.create())["thread_id"]
    run = await slow.runs.create(thread, "agent", input=says("one"))
    waiting = await slow.runs.create(thread, "agent", input=says("two"))
    assert {r["run_id"] for r in await slow.runs.list(thread)} == {run["run_id"], waiting["run_id"]}
    with pytest.raises(ConflictError):
        await slow.runs.create(thread, "agent", input=says("three"), multitask_strategy="reject")
    await slow.runs.cancel(thread, waiting["run_id"], wait=True)
    joined: Any = await slow.runs.join(thread, run["run_id"])
    assert joined["messages"][0]["content"] == "one"
    assert (await slow.runs.get(thread, run["run_id"]))["status"] == "success"
    assert (await slow.runs.get(thread, waiting["run_id"]))["status"] == "interrupted"


async def test_dropped_stream_is_joined_elsewhere_without_gap_or_repeat(door: Door, slow_tenant: str) -> None:
    key = door.key(slow_tenant, "lena")
    modes: Any = ["messages-tuple", "values"]
    with door.another() as elsewhere:
        async with get_client(url=f"{door.url}/lg", api_key=key) as here:
            thread, run, had = await dropped(here, "agent", modes, 2)
        async with get_client(url=f"{elsewhere.url}/lg", api_key=key) as there:
            had += [
                part async for part in there.runs.join_stream(thread, run, stream_mode=modes, last_event_id=had[-1].id)
            ]
    states = [p.data["messages"] for p in had if p.event == "values"]
    assert [len(s) for s in states] == [1, 2]
    assert "".join(c["content"] for c in chunks(had)) == states[-1][-1]["content"]


async def test_client_that_vanishes_cancels_its_run_when_it_asked_for_that(slow: LangGraphClient) -> None:
    thread = (await slow.threads.create())["thread_id"]
    stream = slow.runs.stream(thread, "agent", input=says("one"), on_disconnect="cancel")
    async for _ in stream:
        break
    await stream.aclose()  # type: ignore[attr-defined]

    async def cancelled() -> bool:
        return [r["status"] for r in await slow.runs.list(thread)] == ["interrupted"]

    await until_true(cancelled)


async def test_stateless_run_leaves_no_thread(client: LangGraphClient) -> None:
    before = await client.threads.count()
    told: Any = await client.runs.wait(None, "agent", input=says("hello"))
    assert [m["type"] for m in told["messages"]] == ["human", "ai"]
    assert await client.threads.count() == before


async def test_failed_run_is_an_error(door: Door) -> None:
    tenant = door.tenant("--model", "scripted:fail=99")
    async with get_client(url=f"{door.url}/lg", api_key=door.key(tenant)) as client:
        thread = (await client.threads.create())["thread_id"]
        told = [p async for p in client.runs.stream(thread, "agent", input=says("hello"))]
        assert [p.event for p in told][-2:] == ["error", "end"]
        assert told[-2].data["error"] == "model_error"
        assert (await client.threads.get(thread))["status"] == "error"


async def test_schedules_and_what_is_not_there_are_refused_clearly(client: LangGraphClient) -> None:
    for call in (
        client.crons.create("agent", schedule="* * * * *", input=says("x")),
        client.runs.wait(None, "agent", input=says("x"), webhook="http://127.0.0.1:1/"),
    ):
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await call
        assert refused.value.response.status_code in (422, 501)


async def test_thread_centric_stream_runs_and_answers_an_interrupt(client: LangGraphClient) -> None:
    thread_id = str(uuid.uuid4())
    async with client.threads.stream(thread_id, assistant_id="agent") as thread:
        await thread.run.start(input=says(TASK))
        async with asyncio.timeout(120):
            while not thread.interrupted:
                await asyncio.sleep(0.05)
        (asked,) = thread.interrupts
        assert asked["value"]["action_requests"][0]["name"] == "Asana_CreateTask"
        await thread.run.respond({"decisions": [{"type": "approve"}]})
        async with asyncio.timeout(120):
            values: Any = await thread.output
    assert [m["type"] for m in values["messages"]] == ["human", "ai", "tool", "ai"]


def test_synchronous_client_works_too(door: Door, home_key: str) -> None:
    with get_sync_client(url=f"{door.url}/lg", api_key=home_key) as client:
        thread = client.threads.create()["thread_id"]
        told = list(client.runs.stream(thread, "agent", input=says("hello"), stream_mode="messages-tuple"))
        assert told[-1].event == "end"


async def test_store_keeps_what_a_user_puts_and_finds_it_again(client: LangGraphClient, door: Door) -> None:
    ana = client
    async with get_client(url=f"{door.url}/lg", api_key=door.key("home", "ben")) as ben:
        tag = uuid.uuid4().hex
        for key, value in {
            "tea": {"text": "Ana likes green tea", "cups": 3},
            "mail": {"text": "Ana reads her mail at nine", "cups": 0},
        }.items():
            await ana.store.put_item(["memories", tag], key=key, value=value)
        await ana.store.put_item(["notes", tag], key="short", value={"a": 1}, ttl=1)
        item = await ana.store.get_item(["memories", tag], key="tea")
        assert (item["namespace"], item["value"]["cups"]) == (["memories", tag], 3)

        async def keys(**asked: Any) -> list[str]:
            found = await ana.store.search_items(["memories", tag], **asked)
            return [i["key"] for i in found["items"]]

        assert await keys() == ["mail", "tea"], "the newest first"
        assert await keys(query="what tea does she like?") == ["tea"]
        assert await keys(filter={"cups": {"$gt": 0}}) == ["tea"]
        assert await keys(limit=1, offset=1) == ["tea"]
        named = await ana.store.list_namespaces(suffix=[tag])
        assert named["namespaces"] == [["memories", tag], ["notes", tag]]
        assert (await ana.store.list_namespaces(prefix=["*", tag], max_depth=1))["namespaces"] == [
            ["memories"],
            ["notes"],
        ]

        assert await ben.store.get_item(["memories", tag], key="tea") is None
        assert (await ben.store.search_items(["memories"]))["items"] == []
        await ben.store.delete_item(["memories", tag], key="tea")
        await ana.store.delete_item(["memories", tag], key="mail")
        assert await keys() == ["tea"]
        for wrong in (
            {"namespace": [], "key": "k"},
            {"namespace": ["a.b"], "key": "k"},
            {"namespace": ["a"], "key": "\0"},
        ):
            with pytest.raises(UnprocessableEntityError):
                await ana.http.put("/store/items", json={**wrong, "value": {}})
