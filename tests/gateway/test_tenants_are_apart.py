"""Nobody reaches what is somebody else's: every route, with every id of another person, of the same tenant and of another."""

from __future__ import annotations

import itertools
import json
import re
import uuid
from typing import Any

import httpx
import pytest
from door import Door
from starlette.routing import WebSocketRoute

from connectors.gateway.protocols.lg.application import ROUTES

SECRET = f"secret-{uuid.uuid4().hex}"
OWN = re.compile(rf"""\\?["']s\\?["']: ?\\?["']{SECRET}""")
"""What a thief itself sends as metadata: it is found and quoted, in JSON and in JSON within a string."""
NAMESPACE = "of-the-victim"
DOCUMENTS = ("/v1/openapi.json", "/v1/docs")


async def _victim(door: Door, tenant: str) -> dict[str, str]:
    """Somebody with a thread, a run and an open approval, all full of the secret."""
    async with door.caller(door.key(tenant, "victim")) as victim:
        thread = (await victim.post("/v1/threads", json={"title": SECRET, "metadata": {"s": SECRET}})).json()
        path = f"/v1/threads/{thread['thread_id']}"
        text = f"create a task to {SECRET} tomorrow"
        paused = (await victim.post(f"{path}/runs/wait", json={"text": text})).json()
        state = (await victim.get(f"/lg/threads/{thread['thread_id']}/state")).json()
        kept = {"graph_id": "helper", "name": SECRET, "context": {"token": SECRET}, "metadata": {"about": SECRET}}
        assistant = (await victim.post("/lg/assistants", json=kept)).json()
        item = {"namespace": [NAMESPACE], "key": "k", "value": {"s": SECRET}}
        assert (await victim.put("/lg/store/items", json=item)).status_code == 204
        return {
            "thread_id": thread["thread_id"],
            "run_id": paused["run_id"],
            "call_id": paused["approvals"][0]["call_id"],
            "checkpoint_id": state["checkpoint"]["checkpoint_id"],
            "assistant_id": assistant["assistant_id"],
        }


def _requests(schema: dict[str, Any], ids: dict[str, str]) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Every route with these ids, and bodies that would do something."""
    known = {"agent_id": ids["assistant_id"], "user_id": "victim", "name": "x", "namespace": "x", "rest": "x", **ids}
    item = {"namespace": [NAMESPACE], "key": "k"}
    paths = [(m.upper(), path) for path, methods in schema["paths"].items() for m in methods]
    for route in ROUTES:
        if isinstance(route, WebSocketRoute):
            continue  # commands and subscriptions over it are those of the routes; test_thread_commands.py opens it
        plain = route.path.replace("{rest:path}", "{rest}")
        paths += [(method, f"/lg{plain}") for method in sorted(route.methods or ()) if method != "HEAD"]
    paths.append(("POST", "/agui"))
    bodies: list[dict[str, Any]] = [
        {},
        {"text": "hello"},
        {"title": "mine"},
        {"decision": "approve"},
        {"assistant_id": "agent", "input": {"messages": "hello"}},
        {"assistant_id": "agent", "input": {"messages": "hello"}, "if_not_exists": "create"},
        {"assistant_id": "agent", "command": {"resume": {"decisions": [{"type": "approve"}]}}},
        {"metadata": {"s": SECRET}, "ids": [ids["thread_id"]]},
        {"id": 1, "method": "run.start", "params": {"assistant_id": "agent", "input": {"messages": "hello"}}},
        {"id": 1, "method": "input.respond", "params": {"interrupt_id": "x", "response": {"decisions": []}}},
        {"channels": ["values", "messages", "lifecycle"]},
        {"checkpoint": {"checkpoint_id": ids["checkpoint_id"]}},
        {"thread_id": ids["thread_id"]},
        {"thread_ids": [ids["thread_id"]]},
        {"run_ids": [ids["run_id"]]},
        {"run_ids": [ids["run_id"]], "thread_id": ids["thread_id"]},
        {"status": "all", "thread_id": ids["thread_id"]},
        {"assistant_id": ids["assistant_id"], "input": {"messages": "hello"}},
        {"graph_id": "helper", "assistant_id": ids["assistant_id"], "if_exists": "do_nothing", "name": "taken"},
        {"name": "mine", "context": {"system_prompt": "x"}, "version": 1},
        {"namespace_prefix": [NAMESPACE]},
        {"threadId": ids["thread_id"], "runId": "r", "messages": [{"id": "1", "role": "user", "content": "hello"}]},
    ]
    made: list[tuple[str, str, dict[str, Any] | None]] = []
    for method, path in paths:
        url = path.format(**known)
        if path.endswith("/store/items"):
            made += [("GET", f"{url}?namespace={NAMESPACE}&key=k", None), ("DELETE", url, item)]
            made.append(("PUT", url, {**item, "value": {"s": "of the thief"}}))
            continue
        if path in DOCUMENTS:
            continue
        made += [(method, url, body) for body in (bodies if method in ("POST", "PATCH") else [None])]
    return made


@pytest.mark.parametrize("where", ["another tenant", "the same tenant"])
async def test_no_route_gives_or_changes_what_is_not_the_callers(door: Door, where: str) -> None:
    tenant = door.tenant()
    ids = await _victim(door, tenant)
    async with door.caller(door.key(tenant, "victim")) as victim:
        before = (await victim.get(f"/v1/threads/{ids['thread_id']}")).json()
        messages = (await victim.get(f"/v1/threads/{ids['thread_id']}/messages")).json()
        mine = (await victim.get(f"/lg/assistants/{ids['assistant_id']}")).json()
        other = tenant if where == "the same tenant" else door.tenant()
        async with door.caller(door.key(other, "thief")) as thief:
            schema = (await thief.get("/v1/openapi.json")).json()
            for method, url, body in _requests(schema, ids):
                await _try(thief, method, url, body, ids, same=where == "the same tenant")
        assert (await victim.get(f"/v1/threads/{ids['thread_id']}")).json() == before
        assert (await victim.get(f"/v1/threads/{ids['thread_id']}/messages")).json() == messages
        assert (await victim.get(f"/lg/assistants/{ids['assistant_id']}")).json() == mine
        item = (await victim.get(f"/lg/store/items?namespace={NAMESPACE}&key=k")).json()
        assert item["value"] == {"s": SECRET}
        (approval,) = (await victim.get("/v1/approvals")).json()["approvals"]
        assert approval["call_id"] == ids["call_id"]


async def _try(
    thief: httpx.AsyncClient, method: str, url: str, body: dict[str, Any] | None, ids: dict[str, str], *, same: bool
) -> None:
    told = f"{method} {url} {body}"
    async with thief.stream(method, url, json=body) as response:
        assert response.status_code != 403 or "administ" in (await response.aread()).decode(), told
        assert response.status_code < 500 or response.status_code == 501, told
        text = ""
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            named = ids["thread_id"] in url or ids["thread_id"] in json.dumps(
                body
            )  # others are new threads of one's own
            assert not (same and named), f"{told}: a stream of a thread of somebody else"
            pieces = itertools.count()
            async for piece in response.aiter_text():  # a thread of this id of one's own
                text += piece
                if next(pieces) > 5 or "end" in piece:
                    break
        else:
            text = (await response.aread()).decode()
    assert SECRET not in OWN.sub("", text), told
    if same and (ids["thread_id"] in url or ids["assistant_id"] in url):
        assert response.status_code >= 400, told
