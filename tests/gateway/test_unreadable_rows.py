"""Rows of the store that cannot be read cost themselves: lists and pages go on, reading one is answered in words, and a worker
that meets one ends that input alone."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from door import Door

from connectors.chat_client import ChatClient
from streams.dead_letters import DeadLetterRow, list_dead_letters

SECRET = "broken-content-that-nobody-may-see"
BROKEN = [f'{{"user_id": "{SECRET}', json.dumps({"newer": SECRET}), '{"user_id": "\\ud83d"}', b"\xff\xfe\x00", "[]", ""]


class Rows:
    """The file of the embedded system, changed by hand."""

    def __init__(self, door: Door, tenant: str) -> None:
        (self._file,) = Path(door.environment["CAUCE_DATA"]).rglob("state.db")
        self._tenant = tenant

    def change(self, table: str, column: str, value: Any, **where: Any) -> None:
        conditions = " AND ".join(f"{name} = ?" for name in ("tenant_id", *where))
        with closing(sqlite3.connect(self._file, timeout=120)) as file, file:
            done = file.execute(
                f"UPDATE {table} SET {column} = ? WHERE {conditions}", (value, self._tenant, *where.values())
            )
            assert done.rowcount > 0, (table, where)


async def made(client: httpx.AsyncClient, text: str = "") -> str:
    thread: str = (await client.post("/v1/threads", json={"title": "one"})).json()["thread_id"]
    if text:
        answer = await client.post(f"/v1/threads/{thread}/runs/wait", json={"text": text})
        assert answer.status_code == 200, answer.text
    return thread


def problem(answer: httpx.Response) -> str:
    """What a request is told that needs what cannot be read."""
    assert answer.status_code == 409, answer.text
    assert answer.json()["code"] == "unreadable"
    assert SECRET not in answer.text
    return str(answer.json()["detail"])


async def all_pages(client: httpx.AsyncClient, size: int) -> list[str]:
    found, cursor = [], {}
    while True:
        page = (await client.get("/v1/threads", params={"limit": size, **cursor})).json()
        found += [thread["thread_id"] for thread in page["threads"]]
        if not page["next"]:
            return found
        cursor = {"cursor": page["next"]}


@pytest.mark.parametrize("body", BROKEN, ids=lambda body: repr(body)[:12])
async def test_a_thread_whose_head_cannot_be_read_stays_in_lists_and_is_told_in_words(
    embedded: Door, body: str | bytes
) -> None:
    tenant = embedded.tenant()
    rows = Rows(embedded, tenant)
    async with embedded.caller(embedded.key(tenant)) as client:
        threads = [await made(client) for _ in range(3)]
        rows.change("threads", "head", body, thread_id=threads[1])
        assert sorted(await all_pages(client, 1)) == sorted(threads)
        found = (await client.post("/lg/threads/search", json={})).json()
        assert {t["thread_id"]: t["values"] is None for t in found} == {t: t == threads[1] for t in threads}
        assert (await client.post("/lg/threads/count", json={})).json() == 3
        for values in ({"messages": []}, {"x": 1}):
            assert (await client.post("/lg/threads/search", json={"values": values})).status_code == 200
        for status in ("busy", "interrupted"):
            assert (await client.post("/lg/threads/search", json={"status": status})).status_code == 200
        assert (await client.get("/v1/approvals")).status_code == 200
        for path in ("", "/messages", "/runs", "/events"):
            assert f"thread {threads[1]} of {tenant}" in problem(await client.get(f"/v1/threads/{threads[1]}{path}"))
        for path in ("", "/state", "/history", "/runs"):
            problem(await client.get(f"/lg/threads/{threads[1]}{path}"))
        problem(await client.post(f"/v1/threads/{threads[1]}/runs", json={"text": "hello"}))
        assert (await client.get(f"/v1/threads/{threads[0]}")).status_code == 200
    assert threads[1] in embedded.told("threads", "list", "--tenant", tenant)
    words = embedded.told("threads", "list", "--json", "--tenant", tenant)
    assert len(json.loads(words)) == 3


@pytest.mark.parametrize("path", ["/v1/threads", "/lg/threads"])
async def test_a_thread_whose_head_cannot_be_read_can_be_deleted_by_its_user_alone(embedded: Door, path: str) -> None:
    """Both where the worker still knows it and where it has to read it."""
    tenant = embedded.tenant()
    rows = Rows(embedded, tenant)
    async with embedded.caller(embedded.key(tenant)) as client, embedded.caller(embedded.key(tenant, "eve")) as eve:
        known, moved, fine = [await made(client, "hello") for _ in range(3)]
        rows.change("threads", "head", BROKEN[0], thread_id=known)
        for table in ("threads", "messages", "events"):
            rows.change(table, "thread_id", f"{moved}-moved", thread_id=moved)
        moved = f"{moved}-moved"
        rows.change("threads", "head", BROKEN[1], thread_id=moved)
        for thread in (known, moved):
            problem(await eve.delete(f"{path}/{thread}"))
            deleted = await client.delete(f"{path}/{thread}")
            assert deleted.status_code == 204, deleted.text
            assert (await client.get(f"/v1/threads/{thread}")).status_code == 404
            assert (await client.get(f"/v1/threads/{thread}/messages")).status_code == 404
        assert await all_pages(client, 5) == [fine]
        again = await client.post("/v1/threads", json={"thread_id": moved})
        assert again.json()["code"] == "thread_deleted"


async def test_an_input_of_a_thread_whose_head_cannot_be_read_is_a_dead_letter_and_others_are_answered(
    embedded: Door,
) -> None:
    tenant = embedded.tenant()
    async with embedded.caller(embedded.key(tenant)) as client:
        broken, fine = await made(client, "hello"), await made(client, "hello")
        # A worker knows the heads that it has written: under another id, it has to read it.
        rows = Rows(embedded, tenant)
        rows.change("threads", "head", BROKEN[0], thread_id=broken)
        rows.change("threads", "thread_id", f"{broken}-moved", thread_id=broken)
        broken = f"{broken}-moved"
        from cauce.running import connected
        from cauce.settings import load_settings

        kafka = connected(load_settings(environment=embedded.environment)).kafka_servers
        assert kafka
        async with ChatClient(kafka, tenant, "owner") as chat:
            await chat.send(broken, "hello again")
        answer = await client.post(f"/v1/threads/{fine}/runs/wait", json={"text": "hello again"})
        assert answer.json()["status"] == "completed"

        async def letters() -> list[DeadLetterRow]:
            return [row for row in await list_dead_letters(kafka, limit=50) if broken in row.letter.reason]

        async with asyncio.timeout(120):
            while not (found := await letters()):
                await asyncio.sleep(0.2)
    assert "cannot be read as it is stored" in found[0].letter.reason
    assert SECRET not in found[0].letter.reason
    assert broken in embedded.told("dlq", "list", "--json")


async def test_messages_runs_events_and_lines_that_cannot_be_read_cost_themselves(embedded: Door) -> None:
    tenant = embedded.tenant()
    rows = Rows(embedded, tenant)
    async with embedded.caller(embedded.key(tenant)) as client:
        thread, other = await made(client, "hello"), await made(client)
        path = f"/v1/threads/{thread}"
        assert (await client.post(f"{path}/runs/wait", json={"text": "what can you do?"})).status_code == 200
        runs = (await client.get(f"{path}/runs")).json()["runs"]
        rows.change("messages", "body", BROKEN[1], thread_id=thread, seq=2)
        rows.change("runs", "body", BROKEN[0], thread_id=thread, run_id=runs[1]["run_id"])
        rows.change("accepted_runs", "body", BROKEN[0], thread_id=thread, run_id=runs[1]["run_id"])
        rows.change("events", "body", BROKEN[0], thread_id=thread, seq=2)
        rows.change("events", "body", BROKEN[3], thread_id=thread, seq=3)
        rows.change("threads", "condition", SECRET, thread_id=other)

        messages = (await client.get(f"{path}/messages", params={"limit": 3})).json()
        assert [m["seq"] for m in messages["messages"]] == [1, 3, 4]
        assert [run["run_id"] for run in (await client.get(f"{path}/runs")).json()["runs"]] == [runs[0]["run_id"]]
        assert len((await client.get(f"/lg/threads/{thread}/runs")).json()) == 1
        problem(await client.get(f"{path}/runs/{runs[1]['run_id']}"))
        assert (await client.get(f"/lg/threads/{thread}/state")).status_code == 200
        history = await client.post(f"/lg/threads/{thread}/history", json={"limit": 10})
        assert history.status_code == 200
        assert await all_pages(client, 1) == [thread]
        async with client.stream("GET", f"{path}/events") as stream:
            async with asyncio.timeout(120):
                async for line in stream.aiter_lines():
                    if line.startswith("data: ") and '"run_id":"' + runs[0]["run_id"] in line.replace('": "', '":"'):
                        break
        assert (await client.post(f"{path}/runs/wait", json={"text": "hello"})).json()["status"] == "completed"
    log = "".join(file.read_text(errors="replace") for file in embedded.folder.rglob("*.log"))
    assert f"the message 2 of the thread {thread} of {tenant}" in log
    assert f"the run {runs[1]['run_id']} of the thread {thread} of {tenant}" in log
    assert SECRET not in log


@pytest.mark.parametrize("body", BROKEN, ids=lambda body: repr(body)[:12])
async def test_items_keys_users_and_audit_events_that_cannot_be_read_cost_themselves(
    embedded: Door, body: str | bytes
) -> None:
    tenant = embedded.tenant()
    rows = Rows(embedded, tenant)
    key, lost = embedded.key(tenant), embedded.key(tenant, "bob")
    async with embedded.caller(key) as client:
        for name in ("a", "b"):
            item = {"namespace": ["n", name], "key": name, "value": {"v": name}}
            assert (await client.put("/lg/store/items", json=item)).status_code == 204
        rows.change("items", "body", body, item_key="a")
        rows.change("credentials", "body", body, credential_id=lost.split(".")[-2])
        found = (await client.post("/lg/store/items/search", json={"namespace_prefix": ["n"]})).json()["items"]
        assert [item["key"] for item in found if item["key"] == "b"] == ["b"]
        assert (await client.post("/lg/store/namespaces", json={})).status_code == 200
        assert (await client.get("/v1/agents")).status_code == 200
    async with embedded.caller(lost) as client:
        assert (await client.get("/v1/threads")).status_code == 401
    assert [one["user_id"] for one in json.loads(embedded.told("tenant", "key", "list", tenant, "--json"))] == ["owner"]


async def test_a_tenant_that_cannot_be_read_is_told_in_words_and_others_go_on(embedded: Door, home_key: str) -> None:
    tenant = embedded.tenant()
    rows = Rows(embedded, tenant)
    async with embedded.caller(embedded.key(tenant)) as client, embedded.caller(embedded.key("home", "eve")) as other:
        rows.change("tenants", "body", BROKEN[0])
        try:
            assert f"tenant {tenant}" in problem(await client.get("/v1/agents"))
            assert (await other.get("/v1/agents")).status_code == 200
            listed = json.loads(embedded.told("tenant", "list", "--json"))
            assert tenant not in json.dumps(listed)
            assert "home" in json.dumps(listed)
        finally:
            good = json.dumps({"tenant_id": tenant, "created_at": "2026-01-01T00:00:00Z"})
            rows.change("tenants", "body", good)


async def test_assistants_and_states_of_graphs_that_cannot_be_read_cost_themselves(embedded: Door) -> None:
    tenant = embedded.tenant()
    rows = Rows(embedded, tenant)
    async with embedded.caller(embedded.key(tenant)) as client:
        ids = []
        for name in ("a", "b"):
            answer = await client.post("/lg/assistants", json={"graph_id": "helper", "name": name})
            ids.append(answer.json()["assistant_id"])
        await client.patch(f"/lg/assistants/{ids[0]}", json={"name": "newer"})
        rows.change("assistant_versions", "body", BROKEN[0], assistant_id=ids[0], version=2)
        found = (await client.post("/lg/assistants/search", json={"limit": 100})).json()
        assert ids[1] in {one["assistant_id"] for one in found}
        assert ids[0] not in {one["assistant_id"] for one in found}
        versions = (await client.post(f"/lg/assistants/{ids[0]}/versions", json={})).json()
        assert [one["version"] for one in versions] == [1]
        problem(await client.get(f"/lg/assistants/{ids[0]}"))

        thread = (await client.post("/lg/threads", json={"graph_id": "both"})).json()["thread_id"]
        body = {"assistant_id": "both", "input": {"answers": ["x"]}}
        assert (await client.post(f"/lg/threads/{thread}/runs/wait", json=body)).status_code == 200
        before = (await client.post(f"/lg/threads/{thread}/history", json={"limit": 50})).json()
        rows.change("state_rows", "body", b"\xc1" + SECRET.encode(), thread_id=thread, kind="checkpoint", seq=1)
        after = (await client.post(f"/lg/threads/{thread}/history", json={"limit": 50})).json()
        assert 0 < len(after) <= len(before)
        rows.change("state_rows", "body", b"\xc1" + SECRET.encode(), thread_id=thread, kind="checkpoint")
        problem(await client.get(f"/lg/threads/{thread}/state"))
        assert (await client.post(f"/lg/threads/{thread}/history", json={})).json() == []
        assert (await client.post("/lg/threads/search", json={"ids": [thread]})).json()[0]["values"] is None
