"""One rule of sizes: what is too large is refused at once and nothing is promised; whatever is accepted comes to an end."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import httpx
import pytest
from door import Door, until_true

from schemas import MAX_BODY_BYTES, MAX_METADATA

SIZES = (890_000, MAX_BODY_BYTES - 800, MAX_BODY_BYTES - 300, 940_000, 1_047_800, 1_048_600)
"""Bytes: from what fits, over what fits into the request and not into the record, to what fits into neither."""
REFUSED = (413, 422)


@pytest.fixture(scope="module")
def key(door: Door) -> str:
    return door.key("home", "large")


@pytest.fixture
async def lea(door: Door, key: str) -> Any:
    async with door.caller(key) as client:
        yield client


async def _thread(client: httpx.AsyncClient) -> str:
    return str((await client.post("/v1/threads", json={})).json()["thread_id"])


async def _ends(client: httpx.AsyncClient, thread: str) -> None:
    """All runs of the thread come to an end, or wait for a person."""

    async def over() -> bool:
        runs = (await client.get(f"/v1/threads/{thread}/runs")).json()["runs"]
        return all(run["status"] not in ("pending", "running") for run in runs)

    await until_true(over, 120)


async def _refused_or_over(client: httpx.AsyncClient, thread: str, response: httpx.Response, size: int) -> None:
    if response.status_code in REFUSED:
        assert size > MAX_BODY_BYTES - 1_000, response.text
        assert "bytes" in response.json()["detail"]
        assert (await client.get(f"/v1/threads/{thread}/runs")).json()["runs"] == []
    else:
        assert response.status_code in (200, 202), response.text
        assert size < MAX_BODY_BYTES
        await _ends(client, thread)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", ["runs", "runs/wait", "runs/stream"])
async def test_input_of_a_run_is_refused_at_once_or_the_run_ends(lea: httpx.AsyncClient, shape: str, size: int) -> None:
    thread = await _thread(lea)
    body = {"assistant_id": "both", "input": {"answers": ["x" * (size // 2), "y" * (size - size // 2)]}}
    await _refused_or_over(lea, thread, await lea.post(f"/lg/threads/{thread}/{shape}", json=body), size)


@pytest.mark.parametrize("size", [MAX_METADATA - 10, MAX_METADATA + 10, *SIZES])
async def test_metadata_of_a_message_is_refused_at_once_or_the_run_ends(lea: httpx.AsyncClient, size: int) -> None:
    metadata = {"metadata": {"x": "x" * (size - len('{"x": ""}'))}}
    message = {"text": "hi", **metadata}
    run = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "hi"}]}, **metadata}
    for path, body in (("/v1/threads/{}/messages", message), ("/lg/threads/{}/runs", run)):
        thread = await _thread(lea)
        response = await lea.post(path.format(thread), json=body)
        if size > MAX_METADATA:
            assert response.status_code in REFUSED, response.text
            assert re.search("metadata.* 16,000 characters|bytes", response.json()["detail"])
            assert (await lea.get(f"/v1/threads/{thread}/runs")).json()["runs"] == []
        else:
            assert response.status_code in (200, 202), response.text
            await _ends(lea, thread)


@pytest.mark.parametrize("size", [940_000, 1_048_600])
async def test_runs_without_a_thread_that_are_refused_leave_none(lea: httpx.AsyncClient, size: int) -> None:
    body = {"assistant_id": "both", "input": {"answers": ["x" * size]}}
    before = await _stateless(lea)
    for path, sent in (("/lg/runs", body), ("/lg/runs/wait", body), ("/lg/runs/stream", body)):
        assert (await lea.post(path, json=sent)).status_code in REFUSED
    small = {"assistant_id": "both", "input": {"answers": []}}
    assert (await lea.post("/lg/runs/batch", json=[small, body])).status_code in REFUSED
    assert await _stateless(lea) <= before


async def _stateless(client: httpx.AsyncClient) -> set[str]:
    found = await client.post("/lg/threads/search", json={"metadata": {"stateless": True}, "limit": 1000})
    return {thread["thread_id"] for thread in found.json()}


@pytest.mark.parametrize("size", [940_000, 1_047_500])
async def test_a_command_that_is_too_large_is_refused_and_starts_nothing(lea: httpx.AsyncClient, size: int) -> None:
    thread = await _thread(lea)
    start = {"assistant_id": "both", "input": {"answers": ["x" * size]}}
    told = await lea.post(f"/lg/threads/{thread}/commands", json={"id": 1, "method": "run.start", "params": start})
    assert told.status_code == 200
    assert (told.json()["type"], told.json()["error"]) == ("error", "invalid_argument")
    assert "bytes" in told.json()["message"]
    assert (await lea.get(f"/v1/threads/{thread}/runs")).json()["runs"] == []


@pytest.mark.parametrize("size", [790_000, 899_000, 940_000, 1_047_500])
async def test_a_change_of_a_state_by_hand_is_done_or_refused_at_once(lea: httpx.AsyncClient, size: int) -> None:
    thread = (await lea.post("/lg/threads", json={"metadata": {"graph_id": "both"}})).json()["thread_id"]
    body = {"values": {"answers": ["x" * size]}, "as_node": "left"}
    changed = await lea.post(f"/lg/threads/{thread}/state", json=body)
    assert changed.status_code == 200 if size < 800_000 else changed.status_code in REFUSED, changed.text


@pytest.mark.parametrize("size", [890_000, MAX_BODY_BYTES - 300, 940_000, 1_047_000])
async def test_an_answer_to_a_question_is_taken_or_refused_at_once_and_it_still_waits(
    lea: httpx.AsyncClient, size: int
) -> None:
    thread = await _thread(lea)
    body: dict[str, Any] = {"assistant_id": "nested", "input": {"answers": []}}
    paused = await lea.post(f"/lg/threads/{thread}/runs/wait", json=body)
    assert "__interrupt__" in paused.json()
    answered = await lea.post(
        f"/lg/threads/{thread}/runs/wait", json={"assistant_id": "nested", "command": {"resume": "x" * size}}
    )
    if answered.status_code in REFUSED:
        assert size > MAX_BODY_BYTES - 1_000
        small = {"assistant_id": "nested", "command": {"resume": "small"}}
        answered = await lea.post(f"/lg/threads/{thread}/runs/wait", json=small)
        assert answered.json()["answers"] == ["inside: small"]
    else:
        assert answered.status_code == 200
        await _ends(lea, thread)


@pytest.mark.parametrize("api", ["v1", "lg", "agui"])
async def test_an_edit_that_is_too_large_is_refused_at_once_and_the_call_still_waits(
    lea: httpx.AsyncClient, api: str
) -> None:
    thread = await _thread(lea)
    asked = await lea.post(f"/v1/threads/{thread}/runs/wait", json={"text": "Create a task called 'Buy milk' in Asana"})
    (approval,) = asked.json()["approvals"]
    call = approval["call_id"]
    for size in (MAX_BODY_BYTES, 940_000):
        arguments = {**approval["arguments"], "notes": "x" * size}
        if api == "v1":
            path, body = (
                f"/v1/threads/{thread}/approvals/{call}",
                {"decision": "edit", "arguments": arguments},
            )
        elif api == "lg":
            decision = {"type": "edit", "edited_action": {"name": approval["tool"], "args": arguments}}
            path, body = (
                f"/lg/threads/{thread}/runs/wait",
                {"assistant_id": "agent", "command": {"resume": {"decisions": [decision]}}},
            )
        else:
            payload = {"decision": "edit", "arguments": arguments}
            path, body = (
                "/agui",
                {"threadId": thread, "runId": uuid.uuid4().hex, "resume": [{"interruptId": call, "payload": payload}]},
            )
        refused = await lea.post(path, json=body)
        assert refused.status_code in REFUSED, refused.text[:500]
    (still,) = [a for a in (await lea.get("/v1/approvals")).json()["approvals"] if a["thread_id"] == thread]
    assert still["call_id"] == call
    decided = await lea.post(f"/v1/threads/{thread}/approvals/{call}", json={"decision": "reject"})
    assert decided.status_code == 200


async def test_nothing_that_was_accepted_here_is_a_dead_letter(door: Door) -> None:
    letters = json.loads(door.told("dlq", "list", "--json"))
    assert not [letter for letter in letters if "bytes" in letter["reason"]], letters
