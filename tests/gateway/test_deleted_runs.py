"""`runs.delete` over the published Python client: the run is found no more, and what it did stays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph_client import client, new_thread, says
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError

__all__ = ["client"]


@pytest.mark.parametrize("assistant", ["agent", "plain"])
async def test_deleted_run_is_found_no_more_and_its_thread_stays_as_it_is(
    client: LangGraphClient, assistant: str
) -> None:
    thread = await new_thread(client)
    runs = []
    for text in ("one", "two"):
        runs.append(await client.runs.create(thread, assistant, input=says(text)))
        await client.runs.join(thread, runs[-1]["run_id"])
    before: Any = await client.threads.get_state(thread)
    await client.runs.delete(thread, runs[0]["run_id"])
    assert [run["run_id"] for run in await client.runs.list(thread)] == [runs[1]["run_id"]]
    for call in (client.runs.get, client.runs.delete):
        with pytest.raises(NotFoundError):
            await call(thread, runs[0]["run_id"])
    assert (await client.threads.get_state(thread))["values"] == before["values"]
    told: Any = await client.runs.wait(thread, assistant, input=says("three"))
    assert [m["content"] for m in told["messages"] if m["type"] == "human"] == ["one", "two", "three"]


async def test_stream_of_a_thread_tells_a_deleted_run_that_it_has(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "plain", input=says("one"))
    await client.runs.join(thread, run["run_id"])
    await client.runs.delete(thread, run["run_id"])
    events = []
    async with asyncio.timeout(120):
        stream: Any = await client.threads.join_stream(thread, last_event_id="-1")
        async for part in stream:
            events.append(part.event)
            if part.event in ("values", "error"):
                break
        await stream.aclose()
    assert events[0] == "metadata"
    assert events[-1] == "values"


async def test_run_that_is_not_over_is_not_deleted(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    going = await client.runs.create(thread, "slow", input=says("write"))
    later = await client.runs.create(thread, "agent", input=says("later"), after_seconds=3600)
    for run in (going, later):
        with pytest.raises(ConflictError):
            await client.runs.delete(thread, run["run_id"])
        await client.runs.cancel(thread, run["run_id"], wait=True)
        await client.runs.delete(thread, run["run_id"])
    assert await client.runs.list(thread) == []
