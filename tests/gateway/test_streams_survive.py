"""What a stream's reader can count on when a gateway dies, when the reader is slow, and when there are too many of them."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime

import httpx
import pytest
from door import Door, Frame, streamed, until_true

from cauce.running import connected, find_gateway
from cauce.settings import load_settings
from core.following.position import Position
from core.run_views import RunView, joins_at
from streams.kafka_servers import new_consumer

BIG = "x" * 190_000


async def test_killed_gateway_costs_its_readers_one_reconnect_and_no_event(door: Door, slow_tenant: str) -> None:
    key = door.key(slow_tenant, "eli")
    had: list[Frame] = []
    with door.another() as doomed:
        async with door.caller(key, doomed.url) as client:
            thread = (await client.post("/v1/threads", json={})).json()["thread_id"]
            path = f"/v1/threads/{thread}/runs/stream"
            try:
                async with streamed(client, "POST", path, json={"text": "write"}) as events:
                    async for event in events:
                        had.append(event)
                        if sum(e.event == "message.delta" for e in had) == 3:
                            doomed.kill()
            except httpx.TransportError:
                pass
    assert had[-1].event == "message.delta"
    run = json.loads(had[-1].data)["run_id"]
    async with door.caller(key) as client:
        headers = {"Last-Event-ID": had[-1].id or ""}
        async with streamed(client, "GET", f"/v1/threads/{thread}/runs/{run}/stream", headers=headers) as events:
            had += [event async for event in events]
    numbers = [int(e.id) for e in had if e.id and ":" not in e.id]
    assert numbers == list(range(2, 6))
    said = [json.loads(e.data) for e in had if e.event == "message.delta"]
    assert [piece["offset"] for piece in said[1:]] == [p["offset"] + len(p["text"]) for p in said[:-1]]
    whole = json.loads(next(e.data for e in reversed(had) if e.event == "message.added"))["message"]["text"]
    assert whole.startswith("".join(piece["text"] for piece in said))


@pytest.mark.parametrize("agent", ["agent", "count"])
async def test_who_has_all_of_a_run_that_is_over_is_told_the_end_at_once(ana: httpx.AsyncClient, agent: str) -> None:
    thread = (await ana.post("/lg/threads", json={})).json()["thread_id"]
    content = {"n": [1]} if agent == "count" else {"messages": [{"role": "user", "content": "hello"}]}
    for _ in range(2):
        sent = await ana.post(f"/lg/threads/{thread}/runs/wait", json={"assistant_id": agent, "input": content})
        assert sent.status_code == 200, sent.text
    newest, first = (await ana.get(f"/v1/threads/{thread}/runs")).json()["runs"]
    for run, had in ((newest, newest), (first, first), (first, newest)):
        headers = {"Last-Event-ID": str(had["last_event"])}
        for api in ("v1", "lg"):
            async with asyncio.timeout(120):
                path = f"/{api}/threads/{thread}/runs/{run['run_id']}/stream"
                async with streamed(ana, "GET", path, headers=headers) as events:
                    assert [e.event async for e in events if e.event != "metadata"] == ["end"]


async def test_an_id_that_the_thread_has_not_reached_is_refused_rather_than_waited_for(ana: httpx.AsyncClient) -> None:
    thread = (await ana.post("/v1/threads", json={})).json()["thread_id"]
    run = (await ana.post(f"/v1/threads/{thread}/runs/wait", json={"text": "hello"})).json()
    headers = {"Last-Event-ID": str(run["last_event"] + 1)}
    one = f"threads/{thread}/runs/{run['run_id']}/stream"
    for path in (f"/v1/{one}", f"/lg/{one}", f"/v1/threads/{thread}/events", f"/lg/threads/{thread}/stream"):
        async with asyncio.timeout(120):
            refused = await ana.get(path, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_position"), path


async def test_reader_who_does_not_read_is_cut_off_and_goes_on_by_its_last_id(embedded: Door) -> None:
    tenant = embedded.tenant("--model", "scripted:delay=0,tokens=1")
    key = embedded.key(tenant, "fay")
    async with embedded.caller(key) as fay:
        thread = (await fay.post("/v1/threads", json={})).json()["thread_id"]
        before = await open_streams(embedded)
        with stalled(embedded.url, key, thread) as reader:
            for _ in range(40):
                sent = await fay.post(f"/v1/threads/{thread}/runs/wait", json={"text": BIG})
                assert sent.json()["status"] == "completed"

            async def is_cut_off() -> bool:
                return await open_streams(embedded) <= before

            await until_true(is_cut_off, 120)
            got = await asyncio.to_thread(what_came, reader)
        ids = [line[4:] for line in got.decode(errors="replace").split("\n") if line.startswith("id: ")]
        read = next(i for i in reversed(ids) if i.isdigit())
        last = (await fay.get(f"/v1/threads/{thread}/runs", params={"limit": 1})).json()["runs"][0]["last_event"]
        assert int(read) < last, "it was to be cut off before the end"
        async with streamed(fay, "GET", f"/v1/threads/{thread}/events", headers={"Last-Event-ID": read}) as events:
            numbers = [int(e.id) async for e in until_number(events, last) if e.id and ":" not in e.id]
        assert numbers == list(range(int(read) + 1, last + 1))


async def open_streams(door: Door) -> float:
    """Of the gateway. Whether it or the kernel (`TCP_USER_TIMEOUT`) cuts a reader off depends on how fast events come."""
    found = find_gateway(load_settings(environment=door.environment))
    assert found
    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
        page = (await client.get(f"{found.health}/metrics")).text
    (value,) = re.findall(r"^cauce_gateway_streams (\S+)", page, re.MULTILINE)
    return float(value)


def stalled(url: str, key: str, thread: str) -> socket.socket:
    """A connection that asks for a thread's events and does not read them."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    connection.connect((host, int(port)))
    connection.sendall(f"GET /v1/threads/{thread}/events HTTP/1.1\r\nHost: {host}\r\nx-api-key: {key}\r\n\r\n".encode())
    return connection


def what_came(connection: socket.socket) -> bytes:
    """What had come before the other side broke the connection off."""
    got = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(1 << 20):
            got += piece
    return got


async def until_number(events: AsyncIterator[Frame], last: int) -> AsyncIterator[Frame]:
    async for event in events:
        yield event
        if event.id == str(last):
            return


async def test_user_has_so_many_streams_and_another_user_has_their_own(door: Door) -> None:
    tenant = door.tenant()
    keys = [door.key(tenant, user) for user in ("gus", "hal")]
    many = httpx.Limits(max_connections=200)
    headers = {"x-api-key": keys[0]}
    async with (
        httpx.AsyncClient(base_url=door.url, headers=headers, timeout=120, trust_env=False, limits=many) as gus,
        door.caller(keys[1]) as hal,
    ):
        path = f"/v1/threads/{(await gus.post('/v1/threads', json={})).json()['thread_id']}/events"
        async with AsyncExitStack() as stack:
            for _ in range(100):
                await stack.enter_async_context(streamed(gus, "GET", path))
            refused = await gus.get(path)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
            assert refused.headers["Retry-After"]
            other = f"/v1/threads/{(await hal.post('/v1/threads', json={})).json()['thread_id']}/events"
            await stack.enter_async_context(streamed(hal, "GET", other))
        async with asyncio.timeout(120):
            while (await _status(gus, path)) != 200:
                await asyncio.sleep(0.1)


async def _status(client: httpx.AsyncClient, path: str) -> int:
    async with client.stream("GET", path) as response:
        return response.status_code


async def test_request_id_and_trace_are_on_the_record_and_the_answer(door: Door, ana: httpx.AsyncClient) -> None:
    thread = (await ana.post("/v1/threads", json={})).json()["thread_id"]
    request, trace = uuid.uuid4().hex, f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
    answer = await ana.post(
        f"/v1/threads/{thread}/messages",
        json={"text": "hello"},
        headers={"X-Request-Id": request, "traceparent": trace},
    )
    ours = answer.headers["X-Request-Id"]
    assert ours != request, "with an id of its own choice a caller could hide among the lines of others"
    assert answer.headers["Cache-Control"] == "no-store"
    found = await _headers(door, answer.json()["run_id"])
    assert (found["ce_requestid"], found["traceparent"]) == (ours, trace)


async def _headers(door: Door, record_id: str) -> dict[str, str]:
    consumer = new_consumer(
        "chat.messages",
        bootstrap_servers=connected(load_settings(environment=door.environment)).kafka_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        await consumer.seek_to_beginning()
        async with asyncio.timeout(120):
            async for record in consumer:
                headers = {name: value.decode() for name, value in record.headers}
                if headers["ce_id"] == record_id:
                    return headers
    finally:
        await consumer.stop()
    raise AssertionError("a topic has no end")


@pytest.mark.parametrize("agent", ["agent", "asks_inside"])
async def test_who_joins_a_run_that_waits_already_is_told_its_question_and_the_end(
    ana: httpx.AsyncClient, agent: str
) -> None:
    thread = (await ana.post("/lg/threads", json={})).json()["thread_id"]
    content = {"role": "user", "content": "create a task to call Ana tomorrow"}
    given = {"answers": ["a"]} if agent == "asks_inside" else {"messages": [content]}
    body = {"assistant_id": agent, "input": given}
    run = (await ana.post(f"/lg/threads/{thread}/runs", json=body)).json()["run_id"]
    waits = (await ana.get(f"/lg/threads/{thread}/runs/{run}/join")).json()
    async with asyncio.timeout(120):
        async with streamed(ana, "GET", f"/lg/threads/{thread}/runs/{run}/stream") as events:
            told = [event async for event in events]
    asked = [json.loads(e.data)["__interrupt__"] for e in told if e.event == "updates" and "__interrupt__" in e.data]
    assert asked == [waits["__interrupt__"]]
    assert told[-1].event == "end"


async def test_who_joins_a_run_after_one_of_two_answers_is_asked_for_the_other(door: Door) -> None:
    tenant = door.tenant("--model", "scripted:tool=Gmail_SendEmail,calls=2")
    async with door.caller(door.key(tenant)) as ana:
        thread = (await ana.post("/lg/threads", json={})).json()["thread_id"]
        run = (await ana.post(f"/v1/threads/{thread}/runs/wait", json={"text": "write"})).json()
        first, second = run["approvals"]
        path = f"/v1/threads/{thread}/approvals/{first['call_id']}"
        assert (await ana.post(path, json={"decision": "reject"})).status_code == 200
        waits = (await ana.get(f"/lg/threads/{thread}/runs/{run['run_id']}/join")).json()["__interrupt__"]
        async with asyncio.timeout(120):
            path = f"/lg/threads/{thread}/runs/{run['run_id']}/stream"
            async with streamed(ana, "GET", path, headers={"Last-Event-ID": "-1"}) as events:
                told = [json.loads(e.data) async for e in events if e.event == "updates"]
        asked = [one["__interrupt__"] for one in told if "__interrupt__" in one]
        assert asked, "it waits"
        assert all(one == waits for one in asked)
        assert waits[0]["value"]["call_ids"] == [second["call_id"]]


def test_who_joins_a_run_begins_where_it_was_looked_at() -> None:
    """What came since is told: read from the thread's newest event on, a run that had just ended would never end."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    running = RunView("r", "t", "default", "running", at, at, first_event=3, as_of=4)
    assert joins_at(running, None) == Position(4)
    assert joins_at(running, Position()) == Position(2)
    assert joins_at(running, Position(3)) == Position(3)
    waiting_its_turn = RunView("r", "t", "default", "pending", at, at, as_of=4)
    assert joins_at(waiting_its_turn, Position()) == joins_at(waiting_its_turn, None) == Position(4)
    over = RunView("r", "t", "default", "completed", at, at, first_event=3, last_event=6)
    assert joins_at(over, None) == Position(2)
