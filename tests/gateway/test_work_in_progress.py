"""What is going on is told as it is, from the moment it starts, by every gateway: first runs, answers, decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from door import Door, until_true
from gates import Gate, until
from langgraph_client import client, new_thread, says
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError

__all__ = ["client", "until"]


@pytest.fixture
async def elsewhere(door: Door, home_key: str) -> AsyncIterator[LangGraphClient]:
    """The same person at a gateway that has started just now and has read nothing."""
    with door.another() as gateway:
        async with get_client(url=f"{gateway.url}/lg", api_key=home_key) as client:
            yield client


async def is_at_work(client: LangGraphClient, thread: str, run_id: str) -> None:
    """Everything that tells of the run says that it goes, within a few seconds."""

    async def told() -> bool:
        return (await client.runs.get(thread, run_id))["status"] == "running"

    await until_true(told, 120)
    found = await client.threads.get(thread)
    assert (found["status"], found["interrupts"]) == ("busy", {})
    assert [r["run_id"] for r in await client.runs.list(thread, status="running")] == [run_id]
    assert await client.runs.list(thread, status="interrupted") == []
    busy: Any = await client.threads.search(status="busy", ids=[thread])
    assert [(t["thread_id"], t["status"], t["interrupts"]) for t in busy] == [(thread, "busy", {})]
    for status in ("idle", "interrupted", "error"):
        assert await client.threads.search(status=status, ids=[thread]) == []


async def test_first_run_is_running_and_its_thread_busy_at_every_gateway(
    client: LangGraphClient, elsewhere: LangGraphClient, until: Gate
) -> None:
    thread = await new_thread(client)
    run: Any = await client.runs.create(thread, "task", input={"until": until.file})
    await is_at_work(client, thread, run["run_id"])
    await is_at_work(elsewhere, thread, run["run_id"])
    queued = await client.runs.create(thread, "task", input={"until": until.file})
    assert [r["run_id"] for r in await client.runs.list(thread, status="pending")] == [queued["run_id"]]
    joining = asyncio.create_task(client.runs.join(thread, run["run_id"]))
    until.open()
    values: Any = await joining
    assert set(values["notes"]) == {"worked"}  # the queued one may have come after it
    await elsewhere.runs.join(thread, queued["run_id"])
    assert (await elsewhere.threads.get(thread))["status"] == "idle"
    assert await client.threads.search(status="busy", ids=[thread]) == []


@pytest.mark.parametrize("how", ["resume", "input"])
async def test_answered_run_is_at_work_and_joined_to_its_end(
    client: LangGraphClient, elsewhere: LangGraphClient, ana: httpx.AsyncClient, until: Gate, how: str
) -> None:
    thread = await new_thread(client)
    if how == "resume":
        given: Any = {"input": {"until": until.file, "asks": "How?"}}
        answer: Any = {"command": {"resume": "so"}}
        expected = ["told so", "worked"]
    else:
        given = {"input": {"until": until.file}, "interrupt_before": ["work"]}
        answer, expected = {"input": None}, ["worked"]
    paused: Any = await client.runs.wait(thread, "task", **given)
    run_id = (await client.runs.list(thread))[0]["run_id"]
    assert ("__interrupt__" in paused) or how == "input"
    await client.runs.create(thread, "task", **answer)
    await is_at_work(client, thread, run_id)
    await is_at_work(elsewhere, thread, run_id)
    assert (await ana.get(f"/v1/threads/{thread}")).json()["status"] == "busy"
    assert (await ana.get(f"/v1/threads/{thread}/runs/{run_id}")).json()["status"] == "running"
    if how == "resume":
        for other in (client, elsewhere):
            with pytest.raises(ConflictError):
                await other.runs.create(thread, "task", command={"resume": "otherwise"})
    joins = [asyncio.create_task(other.runs.join(thread, run_id)) for other in (client, elsewhere)]
    of_v1 = asyncio.create_task(ana.get(f"/v1/threads/{thread}/runs/{run_id}/join"))
    streamed = asyncio.create_task(_all(client, thread, run_id))
    until.open()
    for join in joins:
        values: Any = await join
        assert values["notes"] == expected
        # It asks again after the work where it was told to ask.
        assert ("__interrupt__" in values) == (how == "resume")
    assert (await of_v1).json()["status"] == ("paused" if how == "resume" else "completed")
    last: Any = [p.data for p in await streamed if p.event == "values" and "__interrupt__" not in p.data][-1]
    assert last["notes"] == expected


async def _all(client: LangGraphClient, thread: str, run_id: str) -> list[Any]:
    return [p async for p in client.runs.join_stream(thread, run_id, stream_mode="values", last_event_id="-1")]


async def test_run_that_takes_the_place_of_a_waiting_one_is_running_and_the_old_one_is_not(
    client: LangGraphClient, until: Gate
) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "task", input={"until": until.file, "asks": "How?"})
    old = (await client.runs.list(thread))[0]["run_id"]
    run: Any = await client.runs.create(thread, "task", input={"until": until.file, "asks": ""})
    await is_at_work_beside(client, thread, run["run_id"], old)
    until.open()
    await client.runs.join(thread, run["run_id"])
    assert (await client.runs.get(thread, old))["status"] == "interrupted"


async def is_at_work_beside(client: LangGraphClient, thread: str, run_id: str, old: str) -> None:
    async def told() -> bool:
        return [r["run_id"] for r in await client.runs.list(thread, status="running")] == [run_id]

    await until_true(told, 120)
    assert (await client.threads.get(thread))["status"] == "busy"
    assert (await client.runs.get(thread, old))["status"] == "interrupted"


async def test_agents_first_run_is_running_while_its_model_writes(door: Door, slow_tenant: str) -> None:
    async with get_client(url=f"{door.url}/lg", api_key=door.key(slow_tenant)) as client:
        thread = await new_thread(client)
        run = await client.runs.create(thread, "agent", input=says("write"))

        async def told() -> bool:
            return (await client.runs.get(thread, run["run_id"]))["status"] == "running"

        await until_true(told, 120)
        assert (await client.threads.get(thread))["status"] == "busy"
        values: Any = await client.runs.join(thread, run["run_id"])
        assert values["messages"][-1]["type"] == "ai"
        assert (await client.threads.get(thread))["status"] == "idle"


@pytest.mark.parametrize("durability", [None, "async", "sync"])
async def test_state_and_history_of_a_graph_show_while_it_works(
    client: LangGraphClient, elsewhere: LangGraphClient, until: Gate, durability: Any
) -> None:
    thread = await new_thread(client)
    given = {"until": until.file, "notes": ["given"]}
    run: Any = await client.runs.create(thread, "task", input=given, durability=durability)
    for each in (client, elsewhere):

        async def shown(each: LangGraphClient = each) -> bool:
            return (await each.threads.get_state(thread))["next"] == ["work"]

        await until_true(shown)
        state: Any = await each.threads.get_state(thread)
        assert state["values"] == given
        assert state["metadata"]["run_id"] == run["run_id"]
        history: Any = await each.threads.get_history(thread)
        assert [s["next"] for s in history] == [["work"], ["ask"], ["__start__"]]
        assert (await each.threads.get(thread))["values"] == given
        await is_at_work(each, thread, run["run_id"])
    until.open()
    await client.runs.join(thread, run["run_id"])
    history = await client.threads.get_history(thread)
    assert [s["next"] for s in history] == [[], ["work"], ["ask"], ["__start__"]]
    assert history[1:] == (await elsewhere.threads.get_history(thread))[1:]
