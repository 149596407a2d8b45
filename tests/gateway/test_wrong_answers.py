"""Answers that do not fit: refused before they are taken, and what a run that failed has left open can be answered again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langgraph_client import client, new_thread
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import UnprocessableEntityError

__all__ = ["client"]


async def open_ones(client: LangGraphClient, thread: str) -> dict[str, str]:
    """What the thread asks: ids by value."""
    shown = await client.threads.get(thread)
    return {i["value"]: i["id"] for of in shown["interrupts"].values() for i in of}


@pytest.mark.parametrize("answer", ["yes", {"a": "b"}, None, ["yes", "no"]])
async def test_answer_that_does_not_say_which_of_several_questions_it_answers_is_refused(
    client: LangGraphClient, answer: Any
) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "both", input={"answers": []})
    with pytest.raises(UnprocessableEntityError) as refused:
        await client.http.post(f"/threads/{thread}/runs", json={"assistant_id": "both", "command": {"resume": answer}})
    assert refused.value.response.json()["code"] == "several_interrupts"
    asked = await open_ones(client, thread)
    assert set(asked) == {"left", "right"}
    done: Any = await client.runs.wait(thread, "both", command={"resume": {asked["left"]: 1, asked["right"]: 2}})
    assert sorted(done["answers"]) == ["left: 1", "right: 2"]


@pytest.mark.parametrize("protocol", ["classic", "v2", "agui"])
async def test_question_stays_open_when_the_run_of_its_answer_fails(
    client: LangGraphClient, ana: httpx.AsyncClient, protocol: str
) -> None:
    thread = await new_thread(client)
    await client.runs.wait(thread, "picks", input={"answers": []})
    failed: Any = await client.runs.wait(thread, "picks", command={"resume": "right"}, raise_error=False)
    assert "the shop is away" in str(failed["__error__"])
    shown = await client.threads.get(thread)
    assert shown["status"] == "error"
    asked = await open_ones(client, thread)
    assert list(asked) == ["which?"]
    if protocol == "classic":
        await client.runs.wait(thread, "picks", command={"resume": "right"})
    elif protocol == "v2":
        parameters = {"interrupt_id": asked["which?"], "response": "right"}
        command = {"id": 1, "method": "input.respond", "params": parameters}
        told: Any = await client.http.post(f"/threads/{thread}/commands", json=command)
        assert told["type"] == "success"
        await client.runs.join(thread, told["result"]["run_id"])
    else:
        answer = {"interruptId": asked["which?"], "status": "resolved", "payload": "right"}
        body = {"threadId": thread, "runId": "r", "messages": [], "resume": [answer], "tools": [], "context": []}
        async with ana.stream("POST", "/agui/picks", json={**body, "state": {}, "forwardedProps": {}}) as told:
            assert told.status_code == 200
            assert "RUN_FINISHED" in (await told.aread()).decode()
    assert (await client.threads.get_state(thread))["values"] == {"answers": ["picked right"]}
    assert await open_ones(client, thread) == {}
    assert (await client.threads.get(thread))["status"] == "idle"
    with pytest.raises(Exception, match=r"409|Nothing waits"):
        await client.http.post(f"/threads/{thread}/runs", json={"assistant_id": "picks", "command": {"resume": "x"}})
