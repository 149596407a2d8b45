"""Waiting for a run over HTTP: the headers come at once, a sign of life each 5 s, and a client that leaves is seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from door import until_true
from gates import Gate, until
from langgraph_client import client, new_thread
from langgraph_sdk.client import LangGraphClient

__all__ = ["client", "until"]

WAYS = ["lg wait", "lg join", "lg stateless", "v1 join"]


async def opened(ana: httpx.AsyncClient, client: LangGraphClient, way: str, gate: Gate) -> tuple[str, str, Any]:
    """Method, path and body of a request that waits for a run that is at work until the gate opens."""
    thread = await new_thread(client)
    given = {"assistant_id": "task", "input": {"until": gate.file}, "on_disconnect": "cancel"}
    if way == "lg wait":
        return "POST", f"/lg/threads/{thread}/runs/wait", given
    if way == "lg stateless":
        return "POST", "/lg/runs/wait", given | {"on_completion": "keep"}
    run: Any = await client.runs.create(thread, "task", input={"until": gate.file})
    path = f"/threads/{thread}/runs/{run['run_id']}/join?cancel_on_disconnect=1"
    return "GET", f"/lg{path}" if way == "lg join" else f"/v1{path}", None


@pytest.mark.parametrize("way", WAYS)
async def test_headers_come_at_once_and_blank_lines_until_the_value(
    ana: httpx.AsyncClient, client: LangGraphClient, until: Gate, way: str
) -> None:
    method, path, body = await opened(ana, client, way, until)
    async with asyncio.timeout(120), ana.stream(method, path, json=body) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        where = response.headers["location"]
        assert where == response.headers["content-location"] + "/join"
        pieces: AsyncIterator[bytes] = response.aiter_raw()
        assert await anext(pieces) == b"\n"
        until.open()
        rest = b"".join([piece async for piece in pieces])
    found = json.loads(b"\n" + rest)
    assert found["status"] == "completed" if way == "v1 join" else found["notes"] == ["worked"]
    prefix = "" if way == "v1 join" else "/lg"
    assert (await ana.get(f"{prefix}{where}")).json().keys() == found.keys()


@pytest.mark.parametrize("way", WAYS)
async def test_run_is_cancelled_when_its_client_leaves_and_asked_for_that(
    ana: httpx.AsyncClient, client: LangGraphClient, until: Gate, way: str
) -> None:
    method, path, body = await opened(ana, client, way, until)
    async with ana.stream(method, path, json=body) as response:
        parts = response.headers["content-location"].split("/")
    thread, run_id = parts[-3], parts[-1]

    async def interrupted() -> bool:
        return (await client.runs.get(thread, run_id))["status"] == "interrupted"

    await until_true(interrupted, 120)


async def test_run_goes_on_when_a_client_leaves_that_did_not_ask_for_more(
    ana: httpx.AsyncClient, client: LangGraphClient, until: Gate
) -> None:
    method, path, body = await opened(ana, client, "lg wait", until)
    async with ana.stream(method, path, json=body | {"on_disconnect": "continue"}) as response:
        parts = response.headers["content-location"].split("/")
    until.open()
    assert (await client.runs.join(parts[-3], parts[-1]))["notes"] == ["worked"]
    assert (await client.runs.get(parts[-3], parts[-1]))["status"] == "success"


async def test_failure_of_a_run_that_was_waited_for_is_told_in_the_body(ana: httpx.AsyncClient) -> None:
    body = {"assistant_id": "broken", "input": {"messages": []}}
    answered = await ana.post("/lg/runs/wait", json=body)
    assert (answered.status_code, list(answered.json())) == (200, ["__error__"])
    assert (await ana.post("/lg/runs/wait", json=body | {"assistant_id": "nobody"})).status_code == 404
