"""An id of a thread that cannot be had again is said to be taken, by everything that would make a thread; reads find nothing."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from door import Door

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}]}
MAKERS: dict[str, tuple[str, dict[str, Any]]] = {
    "POST /v1/threads": ("/v1/threads", {"thread_id": "ID"}),
    "POST /lg/threads": ("/lg/threads", {"thread_id": "ID"}),
    "POST /lg/threads, do_nothing": ("/lg/threads", {"thread_id": "ID", "if_exists": "do_nothing"}),
    "a run of an agent": (
        "/lg/threads/ID/runs",
        {"assistant_id": "agent", "input": HELLO, "if_not_exists": "create"},
    ),
    "a run of a graph": (
        "/lg/threads/ID/runs/wait",
        {"assistant_id": "helper", "input": HELLO, "if_not_exists": "create"},
    ),
    "AG-UI": ("/agui", {"threadId": "ID", "runId": "r", "messages": [{"id": "u", "role": "user", "content": "hello"}]}),
    "v2": (
        "/lg/threads/ID/commands",
        {"id": 1, "method": "run.start", "params": {"assistant_id": "agent", "input": HELLO}},
    ),
}


def _with(id: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with(id, v) for name, v in value.items()}
    return value.replace("ID", id) if isinstance(value, str) else value


async def _made_again(client: httpx.AsyncClient, maker: str, thread: str) -> tuple[int, str]:
    path, body = MAKERS[maker]
    answer = await client.post(path.replace("ID", thread), json=_with(thread, body))
    return answer.status_code, str(answer.json().get("code"))


@pytest.mark.parametrize("maker", MAKERS)
async def test_id_of_a_deleted_thread_is_not_given_again(ana: httpx.AsyncClient, maker: str) -> None:
    thread = f"chat-{uuid.uuid4()}"
    assert (await ana.post("/v1/threads", json={"thread_id": thread})).status_code == 201
    assert (await ana.delete(f"/v1/threads/{thread}")).status_code == 204
    assert await _made_again(ana, maker, thread) == (409, "thread_deleted")
    for path in (f"/v1/threads/{thread}", f"/lg/threads/{thread}", f"/lg/threads/{thread}/state"):
        gone = await ana.get(path)
        assert (gone.status_code, gone.json()["code"]) == (404, "thread_not_found")


@pytest.mark.parametrize("maker", MAKERS)
async def test_id_of_another_users_thread_is_taken(door: Door, ana: httpx.AsyncClient, maker: str) -> None:
    thread = f"chat-{uuid.uuid4()}"
    assert (await ana.post("/v1/threads", json={"thread_id": thread})).status_code == 201
    async with door.caller(door.key("home", "zoe")) as zoe:
        assert await _made_again(zoe, maker, thread) == (409, "thread_id_taken")
        for path in (f"/v1/threads/{thread}", f"/lg/threads/{thread}", "/v1/threads/free-id"):
            hidden = await zoe.get(path)
            assert (hidden.status_code, hidden.json()["code"]) == (404, "thread_not_found")
