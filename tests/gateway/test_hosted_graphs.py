"""Runs of hosted graphs over the published Python client of the LangGraph Server API, unmodified, against `/lg`."""

from __future__ import annotations

from typing import Any

import pytest
from door import Door
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_client import client, new_thread, says
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

__all__ = ["client"]


async def test_interrupt_is_answered_and_only_once(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    paused: Any = await client.runs.wait(thread, "helper", input=says("hi"))
    (asked,) = paused["__interrupt__"]
    run = (await client.runs.list(thread))[0]
    assert run["status"] == "interrupted"
    told = [
        part async for part in client.runs.stream(thread, "helper", input={}, command={"resume": {asked["id"]: "yes"}})
    ]
    assert told[0].data["run_id"] == run["run_id"]
    assert [p.data for p in told if p.event == "values"][-1]["notes"][-1] == "confirmed: yes"
    assert (await client.threads.get(thread))["status"] == "idle"
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"
    for again in ("yes", {asked["id"]: "yes"}, None):
        body = {"assistant_id": "helper", "command": {"resume": again}}
        with pytest.raises(ConflictError) as refused:
            await client.http.post(f"/threads/{thread}/runs", json=body)
        assert refused.value.response.json()["code"] == "no_such_interrupt"


async def test_parallel_interrupts_are_answered_one_by_one_or_together(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    paused: Any = await client.runs.wait(thread, "both", input={"answers": []})
    asked = {i["value"]: i["id"] for i in paused["__interrupt__"]}
    assert set(asked) == {"left", "right"}
    paused = await client.runs.wait(thread, "both", command={"resume": {asked["left"]: 1}})
    assert [i["value"] for i in paused["__interrupt__"]] == ["right"]
    done: Any = await client.runs.wait(thread, "both", command={"resume": {asked["right"]: 2}})
    assert sorted(done["answers"]) == ["left: 1", "right: 2"]


async def test_subgraph_that_asks_is_seen_from_outside(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    paused: Any = await client.runs.wait(thread, "nested", input={"answers": ["given"]})
    (asked,) = paused["__interrupt__"]
    (task,) = (await client.threads.get_state(thread, subgraphs=True))["tasks"]
    inside: Any = task["state"]
    assert (inside["values"], inside["next"]) == ({"answers": ["given"]}, ["ask"])
    assert inside["interrupts"] == [asked]
    by_checkpoint = await client.threads.get_state(thread, checkpoint=inside["checkpoint"])
    assert by_checkpoint["next"] == ["ask"]
    done: Any = await client.runs.wait(thread, "nested", command={"resume": "yes"})
    assert done["answers"][-1] == "inside: yes"


async def test_langgraphs_remote_graph_works_with_it(door: Door, home_key: str, client: LangGraphClient) -> None:
    remote = RemoteGraph("helper", client=client)
    config: Any = {"configurable": {"thread_id": await new_thread(client), "colour": "red"}}
    told = [
        part async for part in remote.astream(says("hi"), config, stream_mode=["values", "updates"], subgraphs=True)
    ]
    assert any(namespace and namespace[0].startswith("research:") for namespace, _, _ in told)
    state = await remote.aget_state(config)
    assert (state.next, state.values["plan"]["colour"]) == (("confirm",), "red")
    assert next(iter([s.next async for s in remote.aget_state_history(config)])) == ("confirm",)
    await remote.aupdate_state(config, {"notes": ["by hand"]}, as_node="research")
    result = await remote.ainvoke(Command(resume="yes"), config)
    assert result["notes"][-1] == "confirmed: yes"
    assert {"plan", "confirm"} <= set((await remote.aget_graph()).nodes)


async def test_run_stops_before_a_node_and_goes_on_without_an_input(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "helper", input=says("hi"), interrupt_before=["research"])
    state = await client.threads.get_state(thread)
    assert (state["next"], (await client.threads.get(thread))["status"]) == (["research"], "interrupted")
    paused: Any = await client.runs.wait(thread, "helper", input=None)
    assert paused["__interrupt__"][0]["value"]["question"] == "Send it?"
    assert len(await client.runs.list(thread)) == 1


async def test_run_in_the_background_is_joined_and_another_cancelled(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    run = await client.runs.create(thread, "slow", input=says("write"))
    waiting = await client.runs.create(thread, "slow", input=says("more"))
    with pytest.raises(ConflictError):
        await client.runs.create(thread, "slow", input=says("no"), multitask_strategy="reject")
    joined: Any = await client.runs.join(thread, run["run_id"])
    assert joined["notes"] == ["said", "said"]
    await client.runs.cancel(thread, waiting["run_id"], wait=True)
    assert (await client.runs.get(thread, waiting["run_id"]))["status"] == "interrupted"


async def test_what_a_graph_cannot_be_asked_is_refused_clearly(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    for wrong in (
        {"durability": "maybe"},
        {"interrupt_before": 3},
        {"webhook": "http://127.0.0.1:1/"},
        {"after_seconds": -5},
        {"stream_mode": "everything"},
        {"checkpoint": {"checkpoint_ns": "inner:1"}},
        {"config": []},
    ):
        with pytest.raises(UnprocessableEntityError):
            await client.http.post(f"/threads/{thread}/runs", json={"assistant_id": "both", "input": {}, **wrong})
    with pytest.raises(NotFoundError):
        await client.runs.create(thread, "nobody", input={})
