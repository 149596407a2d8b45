"""States of hosted graphs' threads, their assistants and the store, and that they are nobody else's."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from door import Door
from langgraph_client import client, new_thread, says
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError, UnprocessableEntityError

__all__ = ["client"]


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
        config={"configurable": {"colour": "red", "tone": "warm"}},
        metadata={"of": name},
        name=name,
    )
    assert made["context"] == {"colour": "red", "tone": "warm"}
    with pytest.raises(BadRequestError, match="both configurable and context"):
        await client.assistants.create("helper", config={"configurable": {"colour": "red"}}, context={"tone": "warm"})
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

    thread = await new_thread(client)
    told = await client.runs.wait(thread, made["assistant_id"], input=says("hi"), context={"colour": "blue"})
    assert (told["plan"]["tone"], told["plan"]["colour"]) == ("warm", "blue")
    both: Any = {"configurable": {"colour": "blue"}}
    with pytest.raises(BadRequestError, match="both configurable and context"):
        await client.runs.create(thread, "helper", input=says("hi"), config=both, context={"tone": "cold"})

    second = await client.assistants.update(made["assistant_id"], context={"tone": "cold"})
    assert (second["version"], second["context"], second["name"]) == (2, {"tone": "cold"}, name)
    assert second["config"] == {"configurable": {"tone": "cold"}}
    assert [v["version"] for v in await client.assistants.get_versions(made["assistant_id"])] == [2, 1]
    assert (await client.assistants.set_latest(made["assistant_id"], 1))["context"] == {"colour": "red", "tone": "warm"}
    for never in (0, -1, 7, 2**31):
        with pytest.raises(NotFoundError):
            await client.assistants.set_latest(made["assistant_id"], never)
    for no_number in (2**63, 2**64 - 1):
        with pytest.raises(UnprocessableEntityError):
            await client.assistants.set_latest(made["assistant_id"], no_number)
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


@pytest.mark.parametrize("who", ["another user", "another tenant"])
async def test_others_find_nothing_of_a_graphs_thread(door: Door, client: LangGraphClient, who: str) -> None:
    thread = await new_thread(client)
    run = (await client.runs.create(thread, "both", input={"answers": []}))["run_id"]
    await client.runs.join(thread, run)
    key = door.key("home", "eve") if who == "another user" else door.key(door.tenant(), "eve")
    checkpoint = (await client.threads.get_state(thread))["checkpoint"]
    async with httpx.AsyncClient(
        base_url=f"{door.url}/lg", headers={"x-api-key": key}, timeout=120, trust_env=False
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
        assert answer.status_code == (409 if who == "another user" else 200)  # ids are the tenant's
    assert (await client.threads.get(thread))["status"] == "interrupted"


async def test_assistant_of_another_tenant_is_not_there(door: Door, client: LangGraphClient) -> None:
    made = await client.assistants.create("both")
    async with get_client(url=f"{door.url}/lg", api_key=door.key(door.tenant(), "eve")) as eve:
        with pytest.raises(NotFoundError):
            await eve.assistants.get(made["assistant_id"])
        with pytest.raises(NotFoundError):
            await eve.assistants.delete(made["assistant_id"])
        assert made["assistant_id"] not in [a["assistant_id"] for a in await eve.assistants.search(limit=100)]
