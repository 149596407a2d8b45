"""Runs that begin later (`after_seconds`) over the published Python client, on either system."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from door import Door, until_true
from gates import Gate, until
from langgraph_client import client, new_thread, says
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

__all__ = ["client", "until"]

LATER = 3600
ASSISTANTS = pytest.mark.parametrize("assistant", ["agent", "plain"])


async def status(client: LangGraphClient, run: Any) -> str:
    return (await client.runs.get(run["thread_id"], run["run_id"]))["status"]


def texts(values: Any) -> list[str]:
    return [m["content"] for m in values["messages"] if m["type"] == "human"]


@ASSISTANTS
async def test_delayed_run_is_there_at_once_and_begins_when_its_time_comes(
    client: LangGraphClient, assistant: str
) -> None:
    thread = await new_thread(client)
    began = time.monotonic()
    await client.runs.wait(thread, assistant, input=says("first"))
    delay = 2 + 5 * math.ceil(time.monotonic() - began)  # whatever the machine does beside this, "now" is over by then
    run = await client.runs.create(thread, assistant, input=says("later"), after_seconds=delay)
    asked = datetime.now(UTC)
    assert run["status"] == "pending"
    assert [r["run_id"] for r in await client.runs.list(thread, status="pending")] == [run["run_id"]]
    assert (await client.threads.get(thread))["status"] == "idle"
    now = await client.runs.create(thread, assistant, input=says("now"), multitask_strategy="reject")
    assert texts(await client.runs.join(thread, now["run_id"])) == ["first", "now"]
    assert texts(await client.runs.join(thread, run["run_id"])) == ["first", "now", "later"]
    assert (datetime.now(UTC) - asked).total_seconds() > delay - 0.5
    assert await status(client, run) == "success"
    assert len(await client.runs.list(thread)) == 3


@ASSISTANTS
async def test_stream_and_wait_of_a_delayed_run_tell_it_when_it_has_begun(
    client: LangGraphClient, assistant: str
) -> None:
    thread = await new_thread(client)
    started: list[Any] = []
    parts = [
        part
        async for part in client.runs.stream(
            thread, assistant, input=says("one"), after_seconds=1, on_run_created=started.append
        )
    ]
    assert (parts[0].event, parts[-1].event) == ("metadata", "end")
    assert parts[0].data["run_id"] == started[0]["run_id"]
    assert texts([p.data for p in parts if p.event == "values"][-1]) == ["one"]
    assert texts(await client.runs.wait(thread, assistant, input=says("two"), after_seconds=1)) == ["one", "two"]


@ASSISTANTS
async def test_delayed_run_that_was_cancelled_never_begins(client: LangGraphClient, assistant: str) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, assistant, input=says("no"), after_seconds=2)
    other = await client.runs.create(thread, assistant, input=says("yes"), after_seconds=2)
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert await status(client, run) == "interrupted"
    assert texts(await client.runs.join(thread, other["run_id"])) == ["yes"]
    after = await client.runs.wait(thread, assistant, input=says("after"))
    assert texts(after) == ["yes", "after"]
    assert await status(client, run) == "interrupted"


async def test_reader_of_a_delayed_run_is_told_that_it_was_cancelled(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "agent", input=says("no"), after_seconds=LATER)
    joining = asyncio.create_task(client.runs.join(thread, run["run_id"]))
    await client.runs.cancel(thread, run["run_id"])
    assert texts(await joining) == []


async def test_delayed_runs_are_cancelled_in_bulk_and_by_a_reader_who_leaves(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    runs = [await client.runs.create(thread, "agent", input=says(str(n)), after_seconds=LATER) for n in range(3)]
    await client.runs.cancel_many(thread_id=thread, status="pending")
    for run in runs:
        await until_true(lambda run=run: _is(client, run, "interrupted"))
    started: list[Any] = []
    stream = client.runs.stream(
        thread,
        "agent",
        input=says("x"),
        after_seconds=LATER,
        on_disconnect="cancel",
        on_run_created=started.append,
    )
    async for _ in stream:
        break
    await stream.aclose()  # type: ignore[attr-defined]
    await until_true(lambda: _is(client, {**started[0], "thread_id": thread}, "interrupted"))


async def _is(client: LangGraphClient, run: Any, wanted: str) -> bool:
    return await status(client, run) == wanted


async def test_cancel_at_the_moment_of_beginning_ends_the_run_or_keeps_it_from_beginning(
    client: LangGraphClient, until: Gate
) -> None:
    thread = await new_thread(client)
    works = {"until": until.file}
    runs = [await client.runs.create(thread, "task", input=works, after_seconds=1) for _ in range(3)]

    async def one_is_running() -> bool:
        return "running" in [await status(client, run) for run in runs]

    await until_true(one_is_running)
    await asyncio.gather(*(client.runs.cancel(thread, run["run_id"]) for run in runs))
    for run in runs:
        await client.runs.join(thread, run["run_id"])
    assert [await status(client, run) for run in runs] == ["interrupted"] * 3
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_strategy_counts_when_the_run_begins(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    going = await client.runs.create(thread, "slow", input=says("first"))
    rejected = await client.runs.create(
        thread, "slow", input=says("second"), after_seconds=1, multitask_strategy="reject"
    )
    assert rejected["status"] == "pending"
    await until_true(lambda: _is(client, rejected, "interrupted"))
    await client.runs.join(thread, going["run_id"])
    assert await status(client, going) == "success"
    going = await client.runs.create(thread, "slow", input=says("third"))
    instead = await client.runs.create(
        thread, "slow", input=says("fourth"), after_seconds=1, multitask_strategy="interrupt"
    )
    await client.runs.join(thread, instead["run_id"])
    assert (await status(client, going), await status(client, instead)) == ("interrupted", "success")


async def test_stateless_delayed_run_takes_its_thread_along(client: LangGraphClient) -> None:
    run = await client.runs.create(None, "plain", input=says("hello"), after_seconds=1)
    (other,) = await client.runs.create_batch([{"assistant_id": "agent", "input": says("hello"), "after_seconds": 1}])
    for one in (run, other):
        assert one["status"] == "pending"
        await until_true(lambda one=one: _gone(client, one["thread_id"]))
    kept = await client.runs.create(None, "agent", input=says("hello"), after_seconds=1, on_completion="keep")
    assert texts(await client.runs.join(kept["thread_id"], kept["run_id"])) == ["hello"]
    waited: Any = await client.runs.wait(None, "plain", input=says("hello"), after_seconds=1)
    assert texts(waited) == ["hello"]


async def _gone(client: LangGraphClient, thread: str) -> bool:
    try:
        await client.threads.get(thread)
    except NotFoundError:
        return True
    return False


async def test_delayed_run_of_a_thread_that_was_deleted_is_gone_with_it(client: LangGraphClient) -> None:
    thread, other = await new_thread(client), await new_thread(client)
    await client.runs.create(thread, "agent", input=says("hello"), after_seconds=1)
    await client.threads.delete(thread)
    later = await client.runs.create(other, "agent", input=says("hello"), after_seconds=2)
    await client.runs.join(other, later["run_id"])
    assert await _gone(client, thread)


async def test_delays_that_cannot_be_are_refused_in_words(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    for wrong in (-1, "soon", True, 10**9, [1]):
        body = {"assistant_id": "agent", "input": says("hello"), "after_seconds": wrong}
        with pytest.raises(UnprocessableEntityError):
            await client.http.post(f"/threads/{thread}/runs", json=body)
    await client.runs.wait(thread, "both", input={"answers": []})
    with pytest.raises(UnprocessableEntityError):
        await client.runs.create(thread, "both", command={"resume": {}}, after_seconds=5)
    assert len(await client.runs.list(thread)) == 1


async def test_many_gateways_begin_a_delayed_run_once(door: Door, home_key: str, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    with door.another() as second, door.another():
        async with get_client(url=f"{second.url}/lg", api_key=home_key) as there:
            runs = [
                await there.runs.create(thread, "agent", input=says(f"m{n}"), after_seconds=1 + n % 2) for n in range(6)
            ]
        for run in runs:
            await client.runs.join(thread, run["run_id"])
    state: Any = await client.threads.get_state(thread)
    assert sorted(texts(state["values"])) == [f"m{n}" for n in range(6)]
    assert len(await client.runs.list(thread)) == 6


async def test_run_whose_gateway_died_begins_from_another(door: Door, home_key: str, client: LangGraphClient) -> None:
    thread = await new_thread(client)
    with door.another() as dies:
        async with get_client(url=f"{dies.url}/lg", api_key=home_key) as there:
            run = await there.runs.create(thread, "agent", input=says("hello"), after_seconds=1)
        dies.kill()
    assert texts(await client.runs.join(thread, run["run_id"])) == ["hello"]
