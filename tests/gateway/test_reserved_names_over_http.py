"""Who the user of a graph's run is follows from the credential: over every way in, a client that says so itself is refused."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from door import Door

WHO = {"langgraph_auth_user": {"identity": "boss", "permissions": ["admin"]}}


@pytest.mark.parametrize(
    "given", [{"config": {"configurable": WHO}}, {"context": WHO}, {"metadata": {"user_id": "boss"}}]
)
async def test_a_client_does_not_tell_a_graph_who_it_is(embedded: Door, given: dict[str, Any]) -> None:
    async with embedded.caller(embedded.key("home", "ivo")) as ivo:
        thread = (await ivo.post("/lg/threads", json={})).json()["thread_id"]
        run = {"assistant_id": "both", "input": {"answers": []}, **given}
        for path, body in (
            (f"/lg/threads/{thread}/runs", run),
            (f"/lg/threads/{thread}/runs/stream", run),
            (f"/lg/threads/{thread}/runs/wait", run),
            ("/lg/runs/wait", run),
            ("/lg/runs/batch", [run]),
            ("/lg/runs", {**run, "after_seconds": 60}),
            (f"/v1/threads/{thread}/messages", {"text": "hi", "agent": "both", "metadata": {"user_id": "boss"}}),
        ):
            refused = await ivo.post(path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (422, "reserved_name"), f"{path} {refused.text}"
        command = {"id": 1, "method": "run.start", "params": run}
        told = (await ivo.post(f"/lg/threads/{uuid.uuid4()}/commands", json=command)).json()
        assert told["error"] == "invalid_argument"
        assert (await ivo.get(f"/lg/threads/{thread}/runs")).json() == []


async def test_an_assistant_does_not_tell_a_graph_who_its_user_is(embedded: Door) -> None:
    async with embedded.caller(embedded.key("home", "ivo")) as ivo:
        refused = await ivo.post("/lg/assistants", json={"graph_id": "both", "context": WHO})
        assert (refused.status_code, refused.json()["code"]) == (422, "reserved_name")
        made = (await ivo.post("/lg/assistants", json={"graph_id": "both"})).json()["assistant_id"]
        refused = await ivo.patch(f"/lg/assistants/{made}", json={"config": {"configurable": {"tenant_id": "other"}}})
        assert (refused.status_code, refused.json()["code"]) == (422, "reserved_name")
