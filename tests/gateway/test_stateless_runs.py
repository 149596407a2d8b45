"""Runs without a thread over the published Python client: what becomes of the thread that each gets."""

from __future__ import annotations

from typing import Any

import pytest
from door import until_true
from langgraph_client import client, says
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

__all__ = ["client"]


async def gone(client: LangGraphClient, thread: str) -> bool:
    try:
        await client.threads.get(thread)
    except NotFoundError:
        return True
    return False


async def threads(client: LangGraphClient) -> set[str]:
    return {t["thread_id"] for t in await client.threads.search(metadata={"stateless": True}, limit=1000)}


async def test_stateless_run_of_a_graph_leaves_no_thread(client: LangGraphClient) -> None:
    before = await threads(client)
    told: Any = await client.runs.wait(None, "both", input={"answers": []})
    assert len(told["__interrupt__"]) == 2
    assert await threads(client) <= before


@pytest.mark.parametrize("assistant", ["agent", "helper"])
async def test_stateless_stream_is_told_to_its_end_and_leaves_no_thread(
    client: LangGraphClient, assistant: str
) -> None:
    started: list[Any] = []
    stream = client.runs.stream(None, assistant, input=says("hello"), on_run_created=started.append)
    told = [part async for part in stream]
    assert (told[0].event, told[-1].event) == ("metadata", "end")
    assert [p.data["messages"] for p in told if p.event == "values" and "messages" in p.data]
    await until_true(lambda: gone(client, started[0]["thread_id"]))


@pytest.mark.parametrize("left", ["cancel", "continue"])
async def test_thread_goes_when_the_run_is_over_that_the_reader_has_left(client: LangGraphClient, left: Any) -> None:
    started: list[Any] = []
    stream = client.runs.stream(None, "slow", input=says("write"), on_disconnect=left, on_run_created=started.append)
    async for _ in stream:
        break
    await stream.aclose()  # type: ignore[attr-defined]
    await until_true(lambda: gone(client, started[0]["thread_id"]))


async def test_run_in_the_background_has_a_thread_as_long_as_it_goes(client: LangGraphClient) -> None:
    run = await client.runs.create(None, "slow", input=says("write"))
    going = await client.runs.get(run["thread_id"], run["run_id"])
    assert going["status"] in ("pending", "running")
    await until_true(lambda: gone(client, run["thread_id"]))


async def test_thread_is_kept_for_those_who_ask_for_it(client: LangGraphClient) -> None:
    run = await client.runs.create(None, "agent", input=says("hello"), on_completion="keep")
    joined: Any = await client.runs.join(run["thread_id"], run["run_id"])
    assert [m["type"] for m in joined["messages"]] == ["human", "ai"]
    started: list[Any] = []
    stream = client.runs.stream(None, "agent", input=says("hello"), on_completion="keep", on_run_created=started.append)
    assert [part.event async for part in stream][-1] == "end"
    assert {run["thread_id"], started[0]["thread_id"]} <= await threads(client)


async def test_batch_is_several_runs_or_none(client: LangGraphClient) -> None:
    wanted: Any = {"assistant_id": "agent", "input": says("hello")}
    runs = await client.runs.create_batch([wanted, {**wanted, "assistant_id": "both", "input": {"answers": []}}])
    assert len({run["thread_id"] for run in runs}) == 2
    for run in runs:
        await until_true(lambda thread=run["thread_id"]: gone(client, thread))
    before = await threads(client)
    with pytest.raises(NotFoundError):
        await client.runs.create_batch([wanted, {**wanted, "assistant_id": "nobody"}])
    with pytest.raises(UnprocessableEntityError):
        await client.runs.create_batch([wanted] * 21)
    assert await threads(client) <= before


async def test_refused_run_leaves_no_thread(client: LangGraphClient) -> None:
    before = await threads(client)
    with pytest.raises(UnprocessableEntityError):
        await client.runs.create(None, "agent", input=None)
    assert await threads(client) <= before
