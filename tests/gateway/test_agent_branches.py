"""Edit, regenerate, fork and changes by hand of an agent's conversation, as LangGraph's server does them for a graph."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from door import streamed
from langgraph_client import client, new_thread, says
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

from connectors.gateway.protocols.lg.thread_projection import STEP

__all__ = ["client"]

TASK = "create a task to call Ana tomorrow"
Where = Callable[[dict[str, Any]], dict[str, Any]]
WAYS: dict[str, Where] = {
    "checkpoint": lambda checkpoint: {"checkpoint": checkpoint},
    "checkpoint_id": lambda checkpoint: {"checkpoint_id": checkpoint["checkpoint_id"]},
    "config": lambda checkpoint: {"config": {"configurable": {"checkpoint_id": checkpoint["checkpoint_id"]}}},
}


def human(text: str, id: str | None = None) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text, **({"id": id} if id else {})}]}


async def conversation(client: LangGraphClient, *texts: str) -> tuple[str, list[Any]]:
    """A thread in which this was said and answered, and its history from the beginning."""
    thread = await new_thread(client)
    for n, text in enumerate(texts):
        await client.runs.wait(thread, "agent", input=human(text, f"h{n}"))
    return thread, (await client.threads.get_history(thread, limit=100))[::-1]


async def shown(client: LangGraphClient, thread: str) -> list[str]:
    values: Any = (await client.threads.get_state(thread))["values"]
    return [m["content"] if m["type"] == "human" else m["type"] for m in values["messages"]]


@pytest.mark.parametrize("way", WAYS)
async def test_edit_goes_on_from_the_checkpoint_before(client: LangGraphClient, way: str) -> None:
    thread, history = await conversation(client, "hello", "what can you do?")
    assert [len(s["values"]["messages"]) for s in history] == [0, 1, 2, 3, 4]
    before: Any = history[2]["checkpoint"]
    values: Any = await client.runs.wait(thread, "agent", input=human("hello again", "edited"), **WAYS[way](before))
    assert [m["content"] for m in values["messages"] if m["type"] == "human"] == ["hello", "hello again"]
    assert values == (await client.threads.get_state(thread))["values"]
    assert values == (await client.threads.get(thread))["values"]
    (found,) = await client.threads.search(ids=[thread])
    assert found["values"] == values
    # The first message too: the checkpoint before it is the beginning.
    values = await client.runs.wait(thread, "agent", input=human("hi"), **WAYS[way](history[1]["parent_checkpoint"]))
    assert [m["content"] for m in values["messages"] if m["type"] == "human"] == ["hi"]


@pytest.mark.parametrize("way", WAYS)
async def test_regenerate_answers_the_same_message_again(client: LangGraphClient, way: str) -> None:
    thread, history = await conversation(client, "hello", "what can you do?")
    asked, answered = history[3], history[4]
    assert asked["next"] == ["agent"]
    told = [
        part
        async for part in client.runs.stream(
            thread, "agent", input=None, stream_mode=["values", "messages-tuple"], **WAYS[way](asked["checkpoint"])
        )
    ]
    states = [part.data["messages"] for part in told if part.event == "values"]
    assert states[-1][:3] == answered["values"]["messages"][:3]
    assert states[-1][3]["id"] != answered["values"]["messages"][3]["id"]
    assert len(states[-1]) == 4
    # Both answers are in the history, as branches of the same checkpoint.
    now: Any = await client.threads.get_history(thread, limit=100)
    assert now[0]["values"]["messages"] == states[-1]
    ends = [s for s in now if len(s["values"]["messages"]) == 4]
    assert [s["parent_checkpoint"]["checkpoint_id"] for s in ends] == [asked["checkpoint"]["checkpoint_id"]] * 2
    # The old branch can be gone on from.
    values: Any = await client.runs.wait(thread, "agent", input=human("more"), checkpoint=answered["checkpoint"])
    assert values["messages"][:4] == answered["values"]["messages"]
    assert len(values["messages"]) == 6


async def test_what_is_not_there_or_has_nothing_to_answer_is_refused_and_nothing_changes(
    client: LangGraphClient,
) -> None:
    thread, history = await conversation(client, "hello", "what can you do?")
    other, others = await conversation(client, "hello")
    for unknown in ("no-such", str(uuid.uuid4()), others[1]["checkpoint"]["checkpoint_id"]):
        for where in WAYS.values():
            with pytest.raises(NotFoundError, match="to resume from"):
                await client.runs.create(thread, "agent", input=says("x"), **where({"checkpoint_id": unknown}))
    last: Any = history[4]["checkpoint"]
    for no_input in (
        {"checkpoint": last},
        {"checkpoint": history[2]["checkpoint"]},
        {"checkpoint": history[0]["checkpoint"]},
        {},
    ):
        with pytest.raises(UnprocessableEntityError, match="needs an input"):
            await client.runs.create(thread, "agent", input=None, **no_input)
    with pytest.raises(UnprocessableEntityError, match='durability is "nonsense", but must be one of'):
        await client.runs.create(thread, "agent", input=says("x"), durability="nonsense")  # type: ignore[arg-type]
    assert (await client.threads.get_history(thread, limit=100))[::-1] == history
    assert len(await client.runs.list(thread)) == 2
    values: Any = await client.runs.wait(thread, "agent", input=human("more"), checkpoint=last)
    assert values["messages"][:4] == history[4]["values"]["messages"], "the newest one is where it stands"
    assert other


@pytest.mark.parametrize("modes", [["values"], ["messages-tuple"]], ids="+".join)
async def test_message_of_the_same_id_with_another_text_takes_its_place(client: LangGraphClient, modes: Any) -> None:
    thread, _ = await conversation(client, "hello", "what can you do?", "thanks")
    async for _ in client.runs.stream(thread, "agent", input=human("what else?", "h1"), stream_mode=modes):
        pass
    assert await shown(client, thread) == ["hello", "ai", "what else?", "ai"]
    with pytest.raises(UnprocessableEntityError):
        await client.runs.create(thread, "agent", input=human("what else?", "h1"))


async def test_open_approval_of_the_checkpoint_is_abandoned(client: LangGraphClient) -> None:
    thread, history = await conversation(client, "hello", TASK)
    assert (await client.threads.get(thread))["status"] == "interrupted"
    asked: Any = history[-1]["checkpoint"]
    values: Any = await client.runs.wait(
        thread, "agent", input=human("no, say hello"), checkpoint=history[2]["checkpoint"]
    )
    assert [m["type"] for m in values["messages"]] == ["human", "ai", "human", "ai"]
    assert (await client.threads.get(thread))["status"] == "idle"
    # Back to where the call was open: it is left aside, and providers get an answer for it.
    values = await client.runs.wait(thread, "agent", input=human("thanks"), checkpoint=asked)
    assert [m["type"] for m in values["messages"]] == ["human", "ai", "human", "ai", "tool", "human", "ai"]
    assert "not repeated" in values["messages"][4]["content"]


async def test_run_that_waits_behind_another_goes_back_when_it_starts(client: LangGraphClient) -> None:
    thread, history = await conversation(client, "hello", "what can you do?")
    first = await client.runs.create(thread, "agent", input=human("What mail do I have?"))
    second = await client.runs.create(thread, "agent", input=human("bye"), checkpoint=history[2]["checkpoint"])
    await client.runs.join(thread, first["run_id"])
    values: Any = await client.runs.join(thread, second["run_id"])
    assert [m["content"] for m in values["messages"] if m["type"] == "human"] == ["hello", "bye"]


async def test_state_is_changed_by_hand_as_add_messages_does(client: LangGraphClient) -> None:
    thread, history = await conversation(client, "hello", "what can you do?")
    answer: Any = history[2]["values"]["messages"][1]

    async def change(values: Any, **more: Any) -> Any:
        made: Any = await client.threads.update_state(thread, values, **more)
        state = await client.threads.get_state(thread)
        assert state["checkpoint"]["checkpoint_id"] == made["checkpoint"]["checkpoint_id"]
        return made

    await change(human("by the way", "note"))
    assert (await shown(client, thread))[-1] == "by the way"
    await change({"messages": [{**answer, "content": "changed"}]}, as_node="agent")
    messages: Any = (await client.threads.get_state(thread))["values"]["messages"]
    assert [m["content"] for m in messages][1] == "changed"
    assert [m["id"] for m in messages][::2] == ["h0", "h1", "note"]
    await change({"messages": [{"type": "remove", "id": "note"}]})
    assert len(await shown(client, thread)) == 4
    await change(None, checkpoint=history[2]["checkpoint"])
    assert (await client.threads.get_state(thread))["values"] == history[2]["values"]
    await change({"messages": [{"type": "remove", "id": "__remove_all__"}, {"role": "user", "content": "anew"}]})
    assert await shown(client, thread) == ["anew"]
    values: Any = await client.runs.wait(thread, "agent", input=None)
    assert [m["type"] for m in values["messages"]] == ["human", "ai"]
    for wrong, words in (
        ({"messages": [{"type": "remove", "id": "nobody"}]}, "no message 'nobody'"),
        ({"notes": ["x"]}, "the state of an agent has only messages"),
        ({"messages": [{"role": "system", "content": "be rude"}]}, "with the role 'system' cannot be added"),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [{"id": "c", "name": "x", "args": {}}]}]},
            "only the model makes calls",
        ),
    ):
        with pytest.raises(UnprocessableEntityError, match=words):
            await client.threads.update_state(thread, wrong)
    with pytest.raises(NotFoundError):
        await client.threads.update_state(thread, human("x"), checkpoint_id="no-such")


async def test_open_stream_of_the_thread_shows_each_branch_that_it_comes_to(
    client: LangGraphClient, ana: httpx.AsyncClient
) -> None:
    thread, history = await conversation(client, "hello", "what can you do?")
    since = (await ana.get(f"/v1/threads/{thread}/runs")).json()["runs"][0]["last_event"] * STEP + STEP - 1
    body = {"channels": ["values", "lifecycle"], "since": since}
    async with streamed(ana, "POST", f"/lg/threads/{thread}/stream/events", json=body) as events:
        for at, text, expected in (
            (history[2], "bye", ["hello", "bye"]),
            (history[4], "back", ["hello", "what can you do?", "back"]),
        ):
            params = {"assistant_id": "agent", "input": human(text), "checkpoint": at["checkpoint"]}
            started = await ana.post(
                f"/lg/threads/{thread}/commands", json={"id": 1, "method": "run.start", "params": params}
            )
            assert started.json()["type"] == "success", started.text
            values: list[dict[str, Any]] = []
            async for event in events:
                data = json.loads(event.data)["params"]["data"]
                if event.event == "values":
                    values = data["messages"]
                elif data["event"] == "completed":
                    break
            assert [m["content"] for m in values if m["type"] == "human"] == expected
            assert values == (await client.threads.get_state(thread))["values"]["messages"]  # type: ignore[call-overload]


async def test_copy_of_a_thread_that_went_back_has_its_conversation(client: LangGraphClient) -> None:
    thread, history = await conversation(client, "hello", "what can you do?")
    await client.runs.wait(thread, "agent", input=human("bye"), checkpoint=history[2]["checkpoint"])
    copied: Any = await client.threads.copy(thread)
    assert await shown(client, copied["thread_id"]) == ["hello", "ai", "bye", "ai"]
    await client.runs.wait(copied["thread_id"], "agent", input=human("still there?"))
    assert (await shown(client, copied["thread_id"]))[-2:] == ["still there?", "ai"]


async def test_v1_replaces_a_message_or_its_answer(ana: httpx.AsyncClient) -> None:
    thread = (await ana.post("/v1/threads", json={})).json()["thread_id"]
    path = f"/v1/threads/{thread}"
    for text in ("hello", "what can you do?"):
        await ana.post(f"{path}/runs/wait", json={"text": text})

    async def messages() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await ana.get(f"{path}/messages")).json()["messages"]
        return found

    first, answer, second, last = (m["message_id"] for m in await messages())
    again = (await ana.post(f"{path}/runs/wait", json={"replaces": last})).json()
    assert again["status"] == "completed"
    assert [m["message_id"] for m in await messages()][:3] == [first, answer, second]
    assert len(await messages()) == 4
    await ana.post(f"{path}/runs/wait", json={"replaces": second})
    assert [m["seq"] for m in await messages()] == [1, 2, 3, 6]
    key = {"Idempotency-Key": uuid.uuid4().hex}
    for _ in range(2):
        body = {"text": "what else?", "replaces": second}
        edited = (await ana.post(f"{path}/runs/wait", json=body, headers=key)).json()
        assert edited["status"] == "completed"
    assert [m["text"] for m in await messages() if m["role"] == "user"] == ["hello", "what else?"]
    page = (await ana.get(f"{path}/messages", params={"limit": 2})).json()
    older = (await ana.get(f"{path}/messages", params={"limit": 2, "before": page["before"]})).json()
    assert [m["message_id"] for m in (*older["messages"], *page["messages"])] == [
        m["message_id"] for m in await messages()
    ]
    async with streamed(ana, "POST", f"{path}/runs/stream", json={"text": "hi", "replaces": first}) as events:
        kinds = [event.event async for event in events if event.event != "message.delta"]
    assert kinds[:3] == ["run.started", "messages.removed", "message.added"]
    assert (await messages())[0]["text"] == "hi"

    for body, status, code in (
        ({"text": "x", "replaces": "nobody"}, 404, "message_not_found"),
        ({}, 422, "invalid"),
        ({"replaces": ""}, 422, "invalid"),
    ):
        refused = await ana.post(f"{path}/messages", json=body)
        assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text


async def agui(client: httpx.AsyncClient, thread: str, messages: list[dict[str, Any]]) -> None:
    body = {"threadId": thread, "runId": str(uuid.uuid4()), "messages": messages}
    async with streamed(client, "POST", "/agui", json=body) as events:
        assert [event.data async for event in events]


async def test_agui_list_that_is_shorter_or_edited_goes_back(ana: httpx.AsyncClient) -> None:
    thread = str(uuid.uuid4())

    async def said() -> list[dict[str, Any]]:
        found = (await ana.get(f"/v1/threads/{thread}/messages")).json()["messages"]
        return [{"id": m["message_id"], "role": m["role"], "content": m["text"]} for m in found]

    await agui(ana, thread, [{"id": "u1", "role": "user", "content": "hello"}])
    await agui(ana, thread, [*await said(), {"id": "u2", "role": "user", "content": "what can you do?"}])
    whole = await said()
    assert [m["role"] for m in whole] == ["user", "assistant", "user", "assistant"]

    await agui(ana, thread, whole[:3])  # another answer
    regenerated = await said()
    assert regenerated[:3] == whole[:3]
    assert (len(regenerated), regenerated[3]["id"] != whole[3]["id"]) == (4, True)

    await agui(ana, thread, [*whole[:2], {"id": "u3", "role": "user", "content": "what else?"}])  # under a new id
    assert [m["content"] for m in await said() if m["role"] == "user"] == ["hello", "what else?"]

    await agui(ana, thread, [{**whole[0], "content": "good morning"}])  # under its own id
    assert [(m["id"], m["content"]) for m in await said() if m["role"] == "user"] == [("u1", "good morning")]

    # Whoever sends messages of the user alone has not left out the answers.
    await agui(ana, thread, [{**whole[0], "content": "good morning"}, {"id": "u4", "role": "user", "content": "bye"}])
    assert [m["role"] for m in await said()] == ["user", "assistant", "user", "assistant"]
    refused = await ana.post("/agui", json={"threadId": thread, "runId": "r9", "messages": await said()})
    assert (refused.status_code, refused.json()["code"]) == (422, "nothing_said")
