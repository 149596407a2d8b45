"""One use of each public call of the published Python client, on one assistant: what docs/compatibility.md says, tried."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from langgraph_client import says
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError

Call = Callable[[LangGraphClient, str], Awaitable[object]]
CALLS: dict[str, Call] = {}
"""By the name that the table gives the call."""


def _call(function: Call) -> Call:
    name = function.__name__.lstrip("_")
    CALLS[name.replace("__", ".", 1)] = function
    return function


async def outcome(call: Call, client: LangGraphClient, assistant: str) -> str:
    """`works`, or the status and the code of the refusal."""
    try:
        await call(client, assistant)
    except APIStatusError as error:
        body = error.body if isinstance(error.body, dict) else {}
        return f"{error.status_code} {body.get('code', '')}".strip()
    return "works"


async def _thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


async def _ran(client: LangGraphClient, assistant: str) -> tuple[str, str]:
    """A thread and its run, which is over."""
    thread = await _thread(client)
    run = await client.runs.create(thread, assistant, input=says("hello"))
    await client.runs.join(thread, run["run_id"])
    return thread, run["run_id"]


async def _made(client: LangGraphClient, assistant: str) -> str:
    """An assistant of one's own that may be changed, on the same graph."""
    graph = (await client.assistants.get(assistant))["graph_id"]
    return (await client.assistants.create(graph, context={}, name=f"n{uuid.uuid4().hex}"))["assistant_id"]


# --- assistants


@_call
async def _assistants__get(client: LangGraphClient, assistant: str) -> None:
    assert (await client.assistants.get(assistant))["graph_id"] == assistant


@_call
async def _assistants__get_graph(client: LangGraphClient, assistant: str) -> None:
    assert (await client.assistants.get_graph(assistant, xray=True))["nodes"]


@_call
async def _assistants__get_schemas(client: LangGraphClient, assistant: str) -> None:
    assert (await client.assistants.get_schemas(assistant))["graph_id"] == assistant


@_call
async def _assistants__get_subgraphs(client: LangGraphClient, assistant: str) -> None:
    assert await client.assistants.get_subgraphs(assistant) == {}


@_call
async def _assistants__search(client: LangGraphClient, assistant: str) -> None:
    assert any(a["graph_id"] == assistant for a in await client.assistants.search(graph_id=assistant))


@_call
async def _assistants__count(client: LangGraphClient, assistant: str) -> None:
    assert await client.assistants.count(graph_id=assistant) >= 1


@_call
async def _assistants__create(client: LangGraphClient, assistant: str) -> None:
    assert await _made(client, assistant)


@_call
async def _assistants__update(client: LangGraphClient, assistant: str) -> None:
    mine = await _made(client, assistant)
    assert (await client.assistants.update(mine, metadata={"a": 1}))["version"] == 2


@_call
async def _assistants__get_versions(client: LangGraphClient, assistant: str) -> None:
    mine = await _made(client, assistant)
    assert [v["version"] for v in await client.assistants.get_versions(mine)] == [1]


@_call
async def _assistants__set_latest(client: LangGraphClient, assistant: str) -> None:
    mine = await _made(client, assistant)
    await client.assistants.update(mine, metadata={"a": 1})
    assert (await client.assistants.set_latest(mine, 1))["version"] == 1


@_call
async def _assistants__delete(client: LangGraphClient, assistant: str) -> None:
    await client.assistants.delete(await _made(client, assistant))


# --- threads


@_call
async def _threads__create(client: LangGraphClient, assistant: str) -> None:
    thread = await client.threads.create(metadata={"a": 1}, graph_id=assistant, ttl=60)
    assert thread["metadata"]["a"] == 1
    assert thread["status"] == "idle"


@_call
async def _threads__get(client: LangGraphClient, assistant: str) -> None:
    thread, _ = await _ran(client, assistant)
    assert (await client.threads.get(thread))["values"]["messages"]


@_call
async def _threads__update(client: LangGraphClient, assistant: str) -> None:
    thread, _ = await _ran(client, assistant)
    assert (await client.threads.update(thread, metadata={"a": 1}))["metadata"]["a"] == 1


@_call
async def _threads__search(client: LangGraphClient, assistant: str) -> None:
    thread, _ = await _ran(client, assistant)
    assert thread in [t["thread_id"] for t in await client.threads.search(metadata={"graph_id": assistant}, limit=100)]


@_call
async def _threads__count(client: LangGraphClient, assistant: str) -> None:
    await _ran(client, assistant)
    assert await client.threads.count(metadata={"graph_id": assistant}) >= 1


@_call
async def _threads__copy(client: LangGraphClient, assistant: str) -> None:
    thread, _ = await _ran(client, assistant)
    copied = await client.threads.copy(thread)
    assert copied["thread_id"] != thread


@_call
async def _threads__get_state(client: LangGraphClient, assistant: str) -> None:
    thread, _ = await _ran(client, assistant)
    state = await client.threads.get_state(thread)
    assert [m["type"] for m in state["values"]["messages"]] == ["human", "ai"]


@_call
async def _threads__get_history(client: LangGraphClient, assistant: str) -> None:
    thread, _ = await _ran(client, assistant)
    assert len(await client.threads.get_history(thread)) >= 2


@_call
async def _threads__update_state(client: LangGraphClient, assistant: str) -> None:
    thread, _ = await _ran(client, assistant)
    await client.threads.update_state(thread, {"messages": [{"role": "user", "content": "by hand"}]})
    state = await client.threads.get_state(thread)
    assert state["values"]["messages"][-1]["content"] == "by hand"


@_call
async def _threads__delete(client: LangGraphClient, assistant: str) -> None:
    thread, _ = await _ran(client, assistant)
    await client.threads.delete(thread)


@_call
async def _threads__prune(client: LangGraphClient, assistant: str) -> None:
    thread, _ = await _ran(client, assistant)
    await client.threads.prune([thread])


@_call
async def _threads__join_stream(client: LangGraphClient, assistant: str) -> None:
    thread = await _thread(client)
    started = asyncio.create_task(client.runs.create(thread, assistant, input=says("hello")))
    async for part in await client.threads.join_stream(thread, last_event_id="-"):
        if part.event == "values" and part.data.get("messages"):
            break
    await started


@_call
async def _threads__stream(client: LangGraphClient, assistant: str) -> None:
    async with client.threads.stream(assistant_id=assistant) as thread:
        await thread.run.start(input=says("hello"))
        last: Any = await thread.output
    assert [m["type"] for m in last["messages"]] == ["human", "ai"]


# --- runs


@_call
async def _runs__create(client: LangGraphClient, assistant: str) -> None:
    run = await client.runs.create(await _thread(client), assistant, input=says("hello"))
    assert run["status"] in ("pending", "running", "success")


@_call
async def _runs__create_batch(client: LangGraphClient, assistant: str) -> None:
    made: Any = await client.runs.create_batch([{"assistant_id": assistant, "input": says("hello")}])
    assert len(made) == 1


@_call
async def _runs__wait(client: LangGraphClient, assistant: str) -> None:
    values: Any = await client.runs.wait(await _thread(client), assistant, input=says("hello"))
    assert [m["type"] for m in values["messages"]] == ["human", "ai"]


@_call
async def _runs__stream(client: LangGraphClient, assistant: str) -> None:
    told = [
        p.event
        async for p in client.runs.stream(
            await _thread(client), assistant, input=says("hello"), stream_mode=["values", "messages-tuple"]
        )
    ]
    assert {"metadata", "values", "messages"} <= set(told)
    assert "error" not in told


@_call
async def _runs__list(client: LangGraphClient, assistant: str) -> None:
    thread, run = await _ran(client, assistant)
    assert [r["run_id"] for r in await client.runs.list(thread)] == [run]


@_call
async def _runs__get(client: LangGraphClient, assistant: str) -> None:
    thread, run = await _ran(client, assistant)
    assert (await client.runs.get(thread, run))["status"] == "success"


@_call
async def _runs__join(client: LangGraphClient, assistant: str) -> None:
    thread, run = await _ran(client, assistant)
    values: Any = await client.runs.join(thread, run)
    assert values["messages"]


@_call
async def _runs__join_stream(client: LangGraphClient, assistant: str) -> None:
    thread, run = await _ran(client, assistant)
    assert all([p.event != "error" async for p in client.runs.join_stream(thread, run)])


@_call
async def _runs__cancel(client: LangGraphClient, assistant: str) -> None:
    thread = await _thread(client)
    run = await client.runs.create(thread, assistant, input=says("hello"))
    await client.runs.cancel(thread, run["run_id"], wait=True)


@_call
async def _runs__cancel_many(client: LangGraphClient, assistant: str) -> None:
    thread = await _thread(client)
    # Something that waits for a person, or takes its time.
    slowly = assistant if assistant == "agent" else "slow"
    run = await client.runs.create(thread, slowly, input=says("create a task to call Ana tomorrow"))
    await client.runs.cancel_many(thread_id=thread, run_ids=[run["run_id"]])


@_call
async def _runs__delete(client: LangGraphClient, assistant: str) -> None:
    thread, run = await _ran(client, assistant)
    await client.runs.delete(thread, run)
    assert await client.runs.list(thread) == []


# --- crons


@_call
async def _crons__create(client: LangGraphClient, assistant: str) -> None:
    await client.crons.create(assistant, schedule="0 8 * * *", input=says("hello"))


@_call
async def _crons__create_for_thread(client: LangGraphClient, assistant: str) -> None:
    await client.crons.create_for_thread(await _thread(client), assistant, schedule="0 8 * * *", input=says("hello"))


@_call
async def _crons__update(client: LangGraphClient, assistant: str) -> None:
    await client.crons.update(str(uuid.uuid4()), schedule="0 9 * * *")


@_call
async def _crons__delete(client: LangGraphClient, assistant: str) -> None:
    await client.crons.delete(str(uuid.uuid4()))


@_call
async def _crons__search(client: LangGraphClient, assistant: str) -> None:
    await client.crons.search(assistant_id=assistant)


@_call
async def _crons__count(client: LangGraphClient, assistant: str) -> None:
    await client.crons.count(assistant_id=assistant)


# --- store


async def _put(client: LangGraphClient, assistant: str) -> tuple[str, str]:
    folder = uuid.uuid4().hex
    await client.store.put_item(["c", folder], key="k", value={"a": assistant})
    return "c", folder


@_call
async def _store__put_item(client: LangGraphClient, assistant: str) -> None:
    await _put(client, assistant)


@_call
async def _store__get_item(client: LangGraphClient, assistant: str) -> None:
    place = await _put(client, assistant)
    assert (await client.store.get_item(place, "k"))["value"] == {"a": assistant}


@_call
async def _store__search_items(client: LangGraphClient, assistant: str) -> None:
    place = await _put(client, assistant)
    found = await client.store.search_items(place, filter={"a": assistant})
    assert [i["key"] for i in found["items"]] == ["k"]


@_call
async def _store__list_namespaces(client: LangGraphClient, assistant: str) -> None:
    place = await _put(client, assistant)
    assert list(place) in (await client.store.list_namespaces(prefix=list(place)))["namespaces"]


@_call
async def _store__delete_item(client: LangGraphClient, assistant: str) -> None:
    place = await _put(client, assistant)
    await client.store.delete_item(place, "k")
