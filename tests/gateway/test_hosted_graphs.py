"""Hosted graphs over the published Python client of the LangGraph Server API, unmodified, against `/lg`."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from door import Door, streamed, until_true
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

ALL_MODES: Any = ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints", "debug"]


def says(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@pytest.fixture
async def client(door: Door, home_key: str) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=f"{door.url}/lg", api_key=home_key) as client:
        yield client


async def new_thread(client: LangGraphClient) -> str:
    return (await client.threads.create())["thread_id"]


def chunks(told: list[Any]) -> list[dict[str, Any]]:
    """The messages of `messages-tuple` parts, of the graph and its subgraphs."""
    return [p.data[0] for p in told if p.event.partition("|")[0] == "messages"]


def put_together(told: list[Any]) -> dict[str, str]:
    """By message, as a client adds chunks up."""
    texts: dict[str, str] = {}
    for chunk in chunks(told):
        texts[chunk["id"]] = texts.get(chunk["id"], "") + chunk["content"]
    return texts


async def test_graph_streams_in_all_modes_with_subgraphs_and_asks(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    told = [
        part
        async for part in client.runs.stream(
            thread, "helper", input=says("hi"), stream_mode=ALL_MODES, stream_subgraphs=True, stream_resumable=True
        )
    ]
    assert (told[0].event, told[-1].event) == ("metadata", "end")
    events = {p.event.partition("|")[0] for p in told}
    assert events == {
        "metadata",
        "values",
        "updates",
        "messages",
        "custom",
        "tasks",
        "checkpoints",
        "debug",
        "end",
    }
    inner = {p.event.partition("|")[2] for p in told} - {""}
    assert len(inner) == 1
    assert inner.pop().startswith("research:")
    assert {"name": "progress", "step": "planned"} in [p.data for p in told if p.event == "custom"]
    nodes = [next(iter(p.data)) for p in told if p.event == "updates"]
    assert nodes == ["plan", "call", "tools", "research", "__interrupt__"]

    asked = [p.data["__interrupt__"] for p in told if p.event == "values" and "__interrupt__" in p.data]
    assert asked == [p.data["__interrupt__"] for p in told if p.event == "updates" and "__interrupt__" in p.data]
    assert asked[0][0]["value"]["question"] == "Send it?"
    final = [p.data for p in told if p.event == "values"][-2]
    assert [m["type"] for m in final["messages"]] == ["human", "ai", "tool", "ai"]
    assert put_together(told)[final["messages"][-1]["id"]] == final["messages"][-1]["content"]

    shown = await client.threads.get(thread)
    assert (shown["status"], shown["values"]) == ("interrupted", final)
    assert [i for of_task in shown["interrupts"].values() for i in of_task] == asked[0]
    state = await client.threads.get_state(thread, subgraphs=True)
    assert (state["next"], state["values"]) == (["confirm"], final)
    assert state["tasks"][0]["interrupts"] == asked[0]


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


async def test_state_is_changed_by_hand_forked_and_told_in_the_history(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "helper", input=says("hi"))
    made = await client.threads.update_state(thread, {"notes": ["by hand"]}, as_node="research")
    state = await client.threads.get_state(thread)
    assert state["values"]["notes"][-1] == "by hand"
    assert state["checkpoint"]["checkpoint_id"] == made["checkpoint"]["checkpoint_id"]
    assert state["metadata"]["source"] == "update"

    history = await client.threads.get_history(thread, limit=100)
    assert [s["metadata"]["step"] for s in history] == sorted((s["metadata"]["step"] for s in history), reverse=True)
    older = await client.threads.get_history(thread, limit=2, before=history[1]["checkpoint"])
    assert older == history[2:4]
    assert await client.threads.get_history(thread, metadata={"source": "update"}) == history[:1]

    planned = next(s for s in history if s["next"] == ["call"])
    at: Any = planned["checkpoint"]["checkpoint_id"]
    assert (await client.threads.get_state(thread, checkpoint_id=at))["values"] == planned["values"]
    forked: Any = await client.runs.wait(thread, "helper", input=None, checkpoint_id=at)
    assert [m["type"] for m in forked["messages"]] == ["human", "ai", "tool", "ai"]
    assert forked["__interrupt__"][0]["value"]["notes"][0] == "planned"
    assert "by hand" not in forked["notes"]
    with pytest.raises(NotFoundError):
        await client.threads.get_state(thread, checkpoint_id=str(uuid.uuid4()))
    fresh = (await client.threads.create(graph_id="helper"))["thread_id"]
    with pytest.raises(UnprocessableEntityError):
        await client.threads.update_state(fresh, {"notes": ["x"]}, as_node="nobody")


async def test_thread_without_a_run_gets_a_state_by_hand(client: LangGraphClient) -> None:
    thread = (await client.threads.create(graph_id="helper"))["thread_id"]
    await client.threads.update_state(thread, {"notes": ["first"]}, as_node="plan")
    assert (await client.threads.get_state(thread))["next"] == ["call"]
    paused: Any = await client.runs.wait(thread, "helper", input=None)
    assert paused["notes"][0] == "first"


async def test_copy_has_the_state_and_a_life_of_its_own(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "both", input={"answers": ["old"]})
    copy: Any = await client.threads.copy(thread)
    assert copy["thread_id"] != thread
    state = await client.threads.get_state(copy["thread_id"])
    assert state["values"] == (await client.threads.get_state(thread))["values"]
    assert sorted(state["next"]) == ["left", "right"]
    await client.threads.update_state(copy["thread_id"], {"answers": ["new"]}, as_node="left")
    assert (await client.threads.get_state(thread))["values"]["answers"] == ["old"]

    talk = await new_thread(client)
    await client.runs.wait(talk, "agent", input=says("hello"))
    talked: Any = await client.threads.copy(talk)
    assert talked["values"] == (await client.threads.get(talk))["values"]
    with pytest.raises(NotFoundError):
        await client.threads.copy(str(uuid.uuid4()))


async def test_assistants_have_versions_and_give_their_configuration(client: LangGraphClient) -> None:
    own = await client.assistants.get("helper")
    assert (own["graph_id"], own["version"]) == ("helper", 1)
    name = f"Red {uuid.uuid4().hex}"
    made = await client.assistants.create(
        "helper",
        config={"configurable": {"colour": "red", "kept": 1}},
        context={"tone": "warm"},
        metadata={"of": name},
        name=name,
    )
    again = await client.assistants.create("helper", assistant_id=made["assistant_id"], if_exists="do_nothing")
    assert again == made
    with pytest.raises(ConflictError):
        await client.assistants.create("helper", assistant_id=made["assistant_id"])

    thread = await new_thread(client)
    told: Any = await client.runs.wait(thread, made["assistant_id"], input=says("hi"))
    assert (told["plan"]["tone"], told["plan"]["colour"]) == ("warm", "red")
    thread = await new_thread(client)
    told = await client.runs.wait(
        thread, made["assistant_id"], input=says("hi"), config={"configurable": {"colour": "blue"}}
    )
    assert (told["plan"]["tone"], told["plan"]["colour"]) == ("warm", "blue")

    second = await client.assistants.update(made["assistant_id"], context={"tone": "cold"})
    assert (second["version"], second["context"], second["name"]) == (2, {"tone": "cold"}, name)
    assert [v["version"] for v in await client.assistants.get_versions(made["assistant_id"])] == [2, 1]
    assert (await client.assistants.set_latest(made["assistant_id"], 1))["context"] == {"tone": "warm"}
    assert [a["assistant_id"] for a in await client.assistants.search(metadata={"of": name})] == [made["assistant_id"]]
    assert await client.assistants.count(graph_id="helper", name=name.upper()) == 1
    (found,) = await client.threads.search(metadata={"assistant_id": made["assistant_id"]}, limit=1)
    assert found["metadata"]["graph_id"] == "helper"
    await client.assistants.delete(made["assistant_id"])
    with pytest.raises(NotFoundError):
        await client.assistants.get(made["assistant_id"])
    assert (await client.threads.get_state(thread))["values"]["plan"]["colour"] == "blue"


async def test_graph_is_drawn_and_has_schemas(client: LangGraphClient) -> None:
    schemas = await client.assistants.get_schemas("helper")
    assert {"messages", "notes", "plan"} <= set((schemas["state_schema"] or {})["properties"])
    drawn = await client.assistants.get_graph("helper")
    assert {"plan", "call", "tools", "research", "confirm"} <= {str(n["id"]) for n in drawn["nodes"]}
    inside = await client.assistants.get_graph("helper", xray=True)
    assert any("write" in str(n["id"]) for n in inside["nodes"])
    assert set(await client.assistants.get_subgraphs("helper")) == {"research"}


async def test_graph_and_client_share_the_users_store(client: LangGraphClient) -> None:
    await client.runs.wait(await new_thread(client), "helper", input=says("hi"))
    item = await client.store.get_item(["counts"], key="plans")
    await client.store.put_item(["counts"], key="plans", value={"n": 40 + item["value"]["n"]})
    told: Any = await client.runs.wait(await new_thread(client), "helper", input=says("hi"))
    assert told["plan"]["plans"] == 41 + item["value"]["n"]


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


async def test_dropped_stream_of_a_graph_is_joined_elsewhere_without_gap_or_repeat(door: Door, home_key: str) -> None:
    modes: Any = ["messages-tuple", "values", "custom", "updates"]
    had: list[Any] = []
    with door.another() as elsewhere:
        places = [f"{door.url}/lg", f"{elsewhere.url}/lg"]
        async with get_client(url=places[0], api_key=home_key) as here:
            thread = await new_thread(here)
            started: list[Any] = []
            stream = here.runs.stream(
                thread,
                "slow",
                input=says("write"),
                stream_mode=modes,
                stream_resumable=True,
                on_run_created=started.append,
            )
            async for part in stream:
                had.append(part)
                if sum(p.event == "messages" for p in had) == 4:
                    break
            await stream.aclose()  # type: ignore[attr-defined]
        for place, enough in ((places[1], 6), (places[0], 9), (places[1], 10**6)):
            async with get_client(url=place, api_key=home_key) as there:
                again = there.runs.join_stream(
                    thread, started[0]["run_id"], stream_mode=modes, last_event_id=had[-1].id
                )
                fresh = 0
                async for part in again:
                    had.append(part)
                    fresh += part.event == "messages"
                    if fresh == enough:
                        break
                await again.aclose()  # type: ignore[attr-defined]
    assert [p.event for p in had if p.event == "custom"] == ["custom", "custom"]
    assert [next(iter(p.data)) for p in had if p.event == "updates"] == ["first", "second"]
    states = [p.data["messages"] for p in had if p.event == "values"]
    assert [len(s) for s in states] == [1, 2, 3]
    assert put_together(had) == {m["id"]: m["content"] for m in states[-1] if m["type"] == "ai"}
    assert sum(p.event == "messages" for p in had) > 12, "the text was to come in pieces on every connection"


async def test_stream_from_the_beginning_says_all_of_it_again(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    modes: Any = ["values", "updates", "messages-tuple", "custom"]
    first = [
        part
        async for part in client.runs.stream(
            thread, "helper", input=says("hi"), stream_mode=modes, stream_subgraphs=True, stream_resumable=True
        )
    ]
    run = first[0].data["run_id"]
    again = [p async for p in client.runs.join_stream(thread, run, stream_mode=modes, last_event_id="-1")]
    assert [p.event for p in again if p.event != "messages"][-1] == "end"
    for event in ("updates", "custom"):
        assert [p.data for p in again if p.event == event] == [p.data for p in first if p.event == event]
    assert put_together(again) == put_together(first)
    whole = [p.data for p in again if p.event == "values" and "__interrupt__" not in p.data]
    assert [p.data for p in first if p.event == "values" and "__interrupt__" not in p.data] == whole


async def test_failed_graph_is_an_error(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    told = [p async for p in client.runs.stream(thread, "broken", input=says("hi"))]
    assert [p.event for p in told][-2:] == ["error", "end"]
    assert told[-2].data["error"] == "graph_error"
    assert "the well is dry" in told[-2].data["message"]
    assert (await client.threads.get(thread))["status"] == "error"
    failed: Any = await client.runs.wait(thread, "broken", input=says("hi"), raise_error=False)
    assert failed["__error__"]["error"] == "graph_error"


async def test_stateless_run_of_a_graph_leaves_no_thread(client: LangGraphClient) -> None:
    before = await client.threads.count()
    told: Any = await client.runs.wait(None, "both", input={"answers": []})
    assert len(told["__interrupt__"]) == 2
    assert await client.threads.count() == before


async def test_what_a_graph_cannot_be_asked_is_refused_clearly(client: LangGraphClient) -> None:
    thread = await new_thread(client)
    for wrong in (
        {"durability": "maybe"},
        {"interrupt_before": 3},
        {"webhook": "http://127.0.0.1:1/"},
        {"after_seconds": 5},
        {"stream_mode": "everything"},
        {"checkpoint": {"checkpoint_ns": "inner:1"}},
        {"config": []},
    ):
        with pytest.raises(UnprocessableEntityError):
            await client.http.post(f"/threads/{thread}/runs", json={"assistant_id": "both", "input": {}, **wrong})
    with pytest.raises(NotFoundError):
        await client.runs.create(thread, "nobody", input={})


@pytest.mark.parametrize("who", ["another user", "another tenant"])
async def test_others_find_nothing_of_a_graphs_thread(door: Door, client: LangGraphClient, who: str) -> None:
    thread = await new_thread(client)
    run = (await client.runs.create(thread, "both", input={"answers": []}))["run_id"]
    await client.runs.join(thread, run)
    key = door.key("home", "eve") if who == "another user" else door.key(door.tenant(), "eve")
    checkpoint = (await client.threads.get_state(thread))["checkpoint"]
    async with httpx.AsyncClient(
        base_url=f"{door.url}/lg", headers={"x-api-key": key}, timeout=30, trust_env=False
    ) as eve:
        for method, path, body in (
            ("GET", f"/threads/{thread}", None),
            ("GET", f"/threads/{thread}/state", None),
            ("GET", f"/threads/{thread}/state/{checkpoint['checkpoint_id']}", None),
            ("POST", f"/threads/{thread}/state/checkpoint", {"checkpoint": checkpoint}),
            ("POST", f"/threads/{thread}/state", {"values": {"answers": ["x"]}, "as_node": "left"}),
            ("POST", f"/threads/{thread}/history", {}),
            ("POST", f"/threads/{thread}/copy", None),
            ("POST", f"/threads/{thread}/runs", {"assistant_id": "both", "command": {"resume": 1}}),
            ("POST", f"/threads/{thread}/runs/stream", {"assistant_id": "both", "input": {}}),
            ("POST", f"/threads/{thread}/runs/wait", {"assistant_id": "both", "input": {}}),
            ("GET", f"/threads/{thread}/runs/{run}", None),
            ("GET", f"/threads/{thread}/runs/{run}/join", None),
            ("GET", f"/threads/{thread}/runs/{run}/stream", None),
            ("POST", f"/threads/{thread}/stream/events", {"channels": ["values"]}),
        ):
            answer = await eve.request(method, path, json=body)
            assert answer.status_code == 404, f"{method} {path}: {answer.status_code} {answer.text}"
        start = {"id": 1, "method": "run.start", "params": {"assistant_id": "both", "input": {}}}
        answer = await eve.post(f"/threads/{thread}/commands", json=start)
        # In another tenant the id is free: that is a thread of theirs.
        assert answer.status_code == (404 if who == "another user" else 200)
    assert (await client.threads.get(thread))["status"] == "interrupted"


async def test_assistant_of_another_tenant_is_not_there(door: Door, client: LangGraphClient) -> None:
    made = await client.assistants.create("both")
    async with get_client(url=f"{door.url}/lg", api_key=door.key(door.tenant(), "eve")) as eve:
        with pytest.raises(NotFoundError):
            await eve.assistants.get(made["assistant_id"])
        with pytest.raises(NotFoundError):
            await eve.assistants.delete(made["assistant_id"])
        assert made["assistant_id"] not in [a["assistant_id"] for a in await eve.assistants.search(limit=100)]


async def test_thread_centric_stream_runs_a_graph_and_answers_its_interrupts(client: LangGraphClient) -> None:
    thread_id = str(uuid.uuid4())
    async with client.threads.stream(thread_id, assistant_id="both") as thread:
        await thread.run.start(input={"answers": []})
        async with asyncio.timeout(20):
            while len(thread.interrupts) < 2:
                await asyncio.sleep(0.05)
        for asked in list(thread.interrupts):
            await client.http.post(
                f"/threads/{thread_id}/commands",
                json={
                    "id": 7,
                    "method": "input.respond",
                    "params": {"interrupt_id": asked["interrupt_id"], "response": f"to {asked['value']}"},
                },
            )

            async def settled(one: str = asked["interrupt_id"]) -> bool:
                shown = await client.threads.get(thread_id)
                open_ones = [i["id"] for of in shown["interrupts"].values() for i in of]
                return shown["status"] != "busy" and one not in open_ones

            await until_true(settled)
        async with asyncio.timeout(20):
            values: Any = await thread.output
    assert sorted(values["answers"]) == ["left: to left", "right: to right"]


async def envelopes(client: httpx.AsyncClient, thread: str, **more: Any) -> list[dict[str, Any]]:
    """What a thread-centric stream tells until its run is over."""
    channels = ["values", "updates", "messages", "custom", "tasks", "checkpoints", "lifecycle", "tools", "input"]
    body, found = {"channels": channels, **more}, []
    async with streamed(client, "POST", f"/lg/threads/{thread}/stream/events", json=body) as events:
        async for event in events:
            found.append(json.loads(event.data))
            told = found[-1]
            if told["method"] == "lifecycle" and told["params"]["data"]["event"] in ("completed", "interrupted"):
                break
    return found


def kinds(told: list[dict[str, Any]]) -> dict[str, Any]:
    """Contents by id, without pieces of text, whose cuts differ; their sum is in the block's end."""
    return {
        e["event_id"]: e["params"]["data"] for e in told if e["params"]["data"].get("event") != "content-block-delta"
    }


async def test_thread_centric_streams_tell_the_same_on_every_gateway_live_and_later(door: Door, home_key: str) -> None:
    with door.another() as elsewhere:
        async with door.caller(home_key) as here, door.caller(home_key, elsewhere.url) as there:
            thread = (await here.post("/lg/threads", json={"graph_id": "slow"})).json()["thread_id"]
            live = [asyncio.create_task(envelopes(client, thread)) for client in (here, there)]
            params = {"assistant_id": "slow", "input": says("write")}
            started = await here.post(
                f"/lg/threads/{thread}/commands", json={"id": 1, "method": "run.start", "params": params}
            )
            assert started.json()["type"] == "success"
            told = [*(await asyncio.gather(*live)), await envelopes(there, thread, since=0)]
            only = await envelopes(here, thread, since=0, channels=["custom:progress", "lifecycle"])
    for one in told:
        assert [e["seq"] for e in one] == sorted({e["seq"] for e in one})
    assert kinds(told[0]) == kinds(told[1]) == kinds(told[2])
    assert {e["method"] for e in only} == {"custom", "lifecycle"}
    for one in told:
        texts: dict[str, str] = {}
        for data in (e["params"]["data"] for e in one if e["method"] == "messages"):
            if data["event"] == "content-block-delta":
                texts[data["id"]] = texts.get(data["id"], "") + data["delta"]["text"]
            elif data["event"] == "content-block-finish":
                assert texts[data["id"]] == data["content"]["text"]
        assert len(texts) == 2
    assert sum(e["params"]["data"].get("event") == "content-block-delta" for e in told[0]) > 10
