"""What a client of LangGraph's own server expects of threads and runs: bulk calls, streams of threads, metadata, filters."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest
from door import Door, until_true
from gates import Gate, until
from langgraph_client import client, new_thread, says
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

__all__ = ["client", "until"]


async def at_work(client: LangGraphClient, thread: str, gate: Gate) -> str:
    """A run that is going."""
    run = await client.runs.create(thread, "task", input={"until": gate.file})

    async def running() -> bool:
        return (await client.runs.get(thread, run["run_id"]))["status"] == "running"

    await until_true(running)
    return run["run_id"]


async def stands(client: LangGraphClient, thread: str, run_id: str, status: str) -> None:
    async def so() -> bool:
        return (await client.runs.get(thread, run_id))["status"] == status

    await until_true(so)


async def test_runs_are_cancelled_together_by_ids_or_by_status(
    door: Door, client: LangGraphClient, until: Gate
) -> None:
    one, other = await new_thread(client), await new_thread(client)
    runs = [(thread, await at_work(client, thread, until)) for thread in (one, other)]
    waiting = await client.runs.create(one, "task", input={"until": until.file})
    async with get_client(url=f"{door.url}/lg", api_key=door.key("home", "ben")) as somebody:
        await somebody.runs.cancel_many(status="all")
        with pytest.raises(NotFoundError):
            await somebody.runs.cancel_many(thread_id=one, run_ids=[runs[0][1]])
    assert [(await client.runs.get(*run))["status"] for run in runs] == ["running", "running"]
    await client.runs.cancel_many(thread_id=one, status="pending")
    assert (await client.runs.get(*runs[0]))["status"] == "running"
    await client.runs.cancel_many(thread_id=one, run_ids=[runs[0][1]])
    await stands(client, *runs[0], "interrupted")
    await stands(client, one, waiting["run_id"], "interrupted")
    await client.runs.cancel_many(status="running")
    await stands(client, *runs[1], "interrupted")
    with pytest.raises(NotFoundError):
        await client.runs.cancel_many(thread_id=one, run_ids=[str(uuid.uuid4())])
    for wrong in ({}, {"status": "over"}, {"run_ids": "r"}, {"status": "all", "run_ids": ["r"]}):
        with pytest.raises(UnprocessableEntityError):
            await client.http.post("/runs/cancel", json=wrong)


async def test_thread_is_followed_through_its_runs_and_from_where_the_reader_was(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    told: list[Any] = []

    async def follow(last: str | None, runs: int) -> list[Any]:
        found, ended = [], 0
        async with asyncio.timeout(120):
            async for part in await client.threads.join_stream(thread, last_event_id=last):
                found.append(part)
                ended += part.event == "values" and len(part.data.get("notes", [])) > 1
                if ended == runs:
                    break
        return found

    # What it was before is not told where nobody asks for it.
    await client.runs.wait(thread, "agent", input=says("hello"))
    first = asyncio.create_task(follow("-1", 1))
    paused: Any = await client.runs.wait(thread, "helper", input=says("hi"))
    told = await first
    runs = list(reversed([r["run_id"] for r in await client.runs.list(thread)]))
    assert [p.data["run_id"] for p in told if p.event == "metadata"] == runs
    assert not any(p.event in ("end", "error") for p in told)
    last = told[-1].id
    second = asyncio.create_task(follow(last, 2))
    await client.runs.wait(thread, "helper", command={"resume": {paused["__interrupt__"][0]["id"]: "yes"}})
    later = await second
    assert later[-1].data["notes"][-1].startswith("confirmed") or len(later) > 1
    with pytest.raises(UnprocessableEntityError):
        await client.http.get(f"/threads/{thread}/stream?stream_mode=lifecycle")


async def test_threads_are_pruned_and_those_that_are_not_there_do_not_count(
    door: Door, client: LangGraphClient
) -> None:
    threads = [await new_thread(client) for _ in range(2)]
    async with get_client(url=f"{door.url}/lg", api_key=door.key("home", "ben")) as somebody:
        theirs = await new_thread(somebody)
        told = await client.threads.prune([*threads, threads[0], theirs, "no-such-thread"])
        assert told == {"pruned_count": 2}
        await somebody.threads.get(theirs)
    for thread in threads:
        with pytest.raises(NotFoundError):
            await client.threads.get(thread)
    with pytest.raises(UnprocessableEntityError) as refused:
        await client.threads.prune([theirs], strategy="keep_latest")
    assert refused.value.response.json()["code"] == "not_supported"


@pytest.mark.parametrize("action", ["interrupt", "rollback"])
async def test_cancel_keeps_what_was_before_the_run_and_rollback_takes_back_the_rest(
    client: LangGraphClient, until: Gate, action: Any
) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "helper", input=says("hi"))
    before = (await client.threads.get_state(thread))["values"]
    await client.threads.update_state(thread, {"notes": ["by hand"]}, as_node="confirm")
    run = await client.runs.create(thread, "slow", input=says("more"))
    await client.runs.cancel(thread, run["run_id"], wait=True, action=action)
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"
    after: Any = (await client.threads.get_state(thread))["values"]
    assert after["notes"][: len(before["notes"])] == before["notes"]  # type: ignore[index,call-overload]
    said = [m["content"] for m in after["messages"] if m["type"] == "human"]
    assert said == ["hi"] if action == "rollback" else said[0] == "hi"


async def test_cancel_of_an_answered_run_that_waits_for_it_waits_for_the_end(
    client: LangGraphClient, until: Gate
) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "task", input={"until": until.file, "asks": "How?"})
    run = await client.runs.create(thread, "task", command={"resume": "so"})
    await stands(client, thread, run["run_id"], "running")
    await client.runs.cancel(thread, run["run_id"], wait=True)
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "interrupted"
    assert (await client.threads.get(thread))["status"] == "idle"


async def test_stream_is_joined_with_what_the_client_sends_by_itself(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "helper", input=says("hi"))
    told = [part async for part in client.runs.join_stream(thread, run["run_id"], last_event_id="-1")]
    assert told[0].event == "metadata"
    assert any(part.event == "values" for part in told)


async def test_deleting_a_thread_ends_what_runs_in_it_and_answers_at_once(client: LangGraphClient, until: Gate) -> None:
    thread = await new_thread(client)
    await at_work(client, thread, until)
    async with asyncio.timeout(120):  # the work goes on for as long as the gate is shut
        await client.threads.delete(thread)
    with pytest.raises(NotFoundError):
        await client.threads.get(thread)


@pytest.mark.parametrize("how", ["stream", "create", "stateless", "command"])
async def test_thread_made_by_a_run_has_the_runs_metadata_and_its_configs(client: LangGraphClient, how: str) -> None:
    mark, thread = uuid.uuid4().hex, str(uuid.uuid4())
    given: Any = {
        "input": {"answers": []},
        "metadata": {"of_run": mark, "title": "Both"},
        "config": {"metadata": {"of_config": mark, "of_run": "hidden"}},
    }
    if how == "stateless":
        await client.runs.wait(None, "both", on_completion="keep", **given)
    elif how == "stream":
        async for _ in client.runs.stream(thread, "both", if_not_exists="create", **given):
            pass
    elif how == "create":
        await client.runs.create(thread, "both", if_not_exists="create", **given)
    else:
        params = {"assistant_id": "both", **given}
        body = {"id": 1, "method": "run.start", "params": params}
        await client.http.post(f"/threads/{thread}/commands", json=body)
    (found,) = await client.threads.search(metadata={"of_run": mark})
    (same,) = await client.threads.search(metadata={"of_config": mark})
    assert found["thread_id"] == same["thread_id"]
    metadata: Any = found["metadata"]
    assert (metadata["title"], metadata["graph_id"]) == ("Both", "both")
    (run,) = await client.runs.list(found["thread_id"])
    assert (run["metadata"]["of_run"], run["metadata"]["of_config"]) == (mark, mark)  # type: ignore[index]
    await client.runs.create(found["thread_id"], "both", input={"answers": []}, metadata={"second": mark})
    assert await client.threads.search(metadata={"second": mark}) == []


async def test_filters_match_inside_of_objects_wherever_something_is_searched(
    client: LangGraphClient, ana: httpx.AsyncClient
) -> None:
    mark = uuid.uuid4().hex
    metadata = {"mark": mark, "owner": {"team": "a", "name": "n"}, "deep": {"a": {"b": 1, "c": 2}}, "tags": ["x", "y"]}
    await client.threads.create(metadata=metadata)
    assistant = await client.assistants.create("both", metadata=metadata)
    await client.store.put_item(["filters", mark], "k", metadata)
    cases: list[tuple[dict[str, Any], int]] = [
        ({"owner": {"team": "a"}}, 1),
        ({"owner": {}}, 1),
        ({"deep": {"a": {"b": 1}}}, 1),
        ({"deep": {"a": {"b": 2}}}, 0),
        ({"tags": ["x"]}, 0),
        ({"tags": ["x", "y"]}, 1),
    ]
    for case, count in cases:
        wanted = {"mark": mark, **case}
        assert len(await client.threads.search(metadata=wanted)) == count, case
        assert await client.threads.count(metadata=wanted) == count, case
        assert len(await client.assistants.search(metadata=wanted)) == count, case
        versions = await client.assistants.get_versions(assistant["assistant_id"], metadata=wanted)
        assert len(versions) == count, case
        items = await client.store.search_items(["filters", mark], filter=wanted)
        assert len(items["items"]) == count, case
        listed = (await ana.get("/v1/threads", params={"metadata": _json(wanted)})).json()["threads"]
        assert len(listed) == count, case


def _json(value: Any) -> str:
    return httpx.Request("POST", "http://x", json=value).content.decode()


async def test_threads_are_found_by_their_values(client: LangGraphClient) -> None:
    mark, thread = uuid.uuid4().hex, await new_thread(client)
    await client.runs.wait(thread, "both", input={"answers": [mark]})
    found = await client.threads.search(values={"answers": [mark]})
    assert [t["thread_id"] for t in found] == [thread]
    assert await client.threads.search(values={"answers": [mark, "more"]}) == []


async def test_thread_is_made_with_a_state_in_supersteps(client: LangGraphClient) -> None:
    steps: Any = [
        {"updates": [{"values": {"answers": ["given"]}, "as_node": "__start__"}]},
        {"updates": [{"values": {"answers": ["left: 1"]}, "as_node": "left"}]},
    ]
    made = await client.threads.create(graph_id="both", supersteps=steps)
    state: Any = await client.threads.get_state(made["thread_id"])
    assert state["values"]["answers"] == ["given", "left: 1"]
    assert len(await client.threads.get_history(made["thread_id"])) == 2
    before = await client.threads.count()
    wrong: Any = [{"updates": [{"values": {"answers": ["x"]}, "as_node": "nobody"}]}]
    for graph, given in (("both", wrong), (None, steps), ("both", [{"updates": []}])):
        with pytest.raises(UnprocessableEntityError):
            await client.threads.create(graph_id=graph, supersteps=given)
    assert await client.threads.count() == before


async def test_run_without_an_assistant_is_refused_and_starts_nothing(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    for path in (f"/threads/{thread}/runs", f"/threads/{thread}/runs/wait", "/runs", "/runs/stream"):
        with pytest.raises(UnprocessableEntityError) as refused:
            await client.http.post(path, json={"input": says("hello")})
        assert refused.value.response.json()["code"] == "invalid_argument"
    assert await client.runs.list(thread) == []


async def test_what_is_not_there_yet_does_not_look_like_a_server_that_broke(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "agent", input=says("hello"))
    for ask in (
        client.crons.create("agent", schedule="0 * * * *"),
        client.crons.search(),
        client.runs.create(thread, "agent", input=says("hi"), webhook="http://127.0.0.1:1/"),
    ):
        with pytest.raises(UnprocessableEntityError) as refused:
            await ask
        assert refused.value.response.json()["code"] == "not_supported"
