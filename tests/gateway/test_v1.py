"""`/v1`: what its documentation promises, on both systems."""

from __future__ import annotations

import asyncio
import json
import uuid

import httpx
from door import Door, Frame, streamed, until_true

RULES_TASK = "create a task to call Ana tomorrow"


async def a_thread(client: httpx.AsyncClient, **body: object) -> str:
    made = await client.post("/v1/threads", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["thread_id"])


async def test_thread_is_made_found_renamed_and_deleted(ana: httpx.AsyncClient) -> None:
    mark = uuid.uuid4().hex
    thread = await a_thread(ana, title=f"Mail {mark}", metadata={"mark": mark})
    assert (await ana.get(f"/v1/threads/{thread}")).json()["status"] == "idle"
    assert (await ana.post("/v1/threads", json={"thread_id": thread})).json()["code"] == "thread_exists"

    changed = await ana.patch(f"/v1/threads/{thread}", json={"title": "Other", "metadata": {"more": [1], "mark": None}})
    assert changed.json()["title"] == "Other"
    assert changed.json()["metadata"] == {"more": [1]}
    assert (await ana.delete(f"/v1/threads/{thread}")).status_code == 204

    gone = await ana.get(f"/v1/threads/{thread}")
    assert (gone.status_code, gone.json()["code"]) == (404, "thread_not_found")
    again = await ana.post("/v1/threads", json={"thread_id": thread})
    assert (again.status_code, again.json()["code"]) == (409, "thread_deleted")
    assert (await ana.post(f"/v1/threads/{thread}/messages", json={"text": "late"})).status_code == 404


async def test_threads_are_listed_in_pages_and_found_by_title_and_metadata(door: Door) -> None:
    key = door.key(door.tenant(), "ben")
    async with door.caller(key) as ben:
        made = [await a_thread(ben, title=f"Title {n}", metadata={"even": n % 2 == 0}) for n in range(5)]
        seen, cursor = [], None
        while True:
            page = (await ben.get("/v1/threads", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
            seen += [t["thread_id"] for t in page["threads"]]
            if (cursor := page["next"]) is None:
                break
        assert seen == made[::-1]
        found = (await ben.get("/v1/threads", params={"q": "title 3"})).json()["threads"]
        assert [t["thread_id"] for t in found] == [made[3]]
        found = (await ben.get("/v1/threads", params={"metadata": '{"even": true}'})).json()["threads"]
        assert [t["thread_id"] for t in found] == [made[4], made[2], made[0]]


async def test_message_is_answered_and_the_conversation_can_be_read(ana: httpx.AsyncClient) -> None:
    thread = await a_thread(ana)
    told = (await ana.post(f"/v1/threads/{thread}/runs/wait", json={"text": "What mail do I have?"})).json()
    assert (told["status"], "8 mails" in told["text"]) == ("completed", True)
    messages = (await ana.get(f"/v1/threads/{thread}/messages")).json()["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "assistant"]
    older = (await ana.get(f"/v1/threads/{thread}/messages", params={"limit": 2})).json()
    assert [m["role"] for m in older["messages"]] == ["tool", "assistant"]
    first = (await ana.get(f"/v1/threads/{thread}/messages", params={"before": older["before"]})).json()
    assert [m["role"] for m in first["messages"]] == ["user", "assistant"]
    runs = (await ana.get(f"/v1/threads/{thread}/runs")).json()["runs"]
    assert [(r["run_id"], r["status"]) for r in runs] == [(told["run_id"], "completed")]


async def test_same_idempotency_key_is_one_message_and_another_text_is_refused(ana: httpx.AsyncClient) -> None:
    thread, key = await a_thread(ana), {"Idempotency-Key": uuid.uuid4().hex}
    path = f"/v1/threads/{thread}/messages"
    runs = {(await ana.post(path, json={"text": "hello"}, headers=key)).json()["run_id"] for _ in range(3)}
    assert len(runs) == 1
    other = await ana.post(path, json={"text": "goodbye"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    done = (await ana.get(f"/v1/threads/{thread}/runs/{runs.pop()}/join")).json()
    assert done["status"] == "completed"
    messages = (await ana.get(f"/v1/threads/{thread}/messages")).json()["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant"]


async def test_twenty_messages_at_once_are_all_answered_in_order(ana: httpx.AsyncClient) -> None:
    thread = await a_thread(ana)
    sent = await asyncio.gather(
        *(ana.post(f"/v1/threads/{thread}/messages", json={"text": f"hello {n}"}) for n in range(20))
    )
    assert {r.status_code for r in sent} == {202}
    runs = {r.json()["run_id"] for r in sent}

    async def all_over() -> bool:
        found = (await ana.get(f"/v1/threads/{thread}/runs", params={"limit": 50})).json()["runs"]
        return {r["run_id"] for r in found if r["status"] == "completed"} == runs

    await until_true(all_over)
    messages = (await ana.get(f"/v1/threads/{thread}/messages", params={"limit": 100})).json()["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant"] * 20
    assert sorted(m["text"] for m in messages[::2]) == sorted(f"hello {n}" for n in range(20))


EARLY = ("message.delta", "tool.result")
"""Frames of what will also be told by an event, and that have no number."""


async def test_stream_of_a_run_tells_everything_and_ends(ana: httpx.AsyncClient) -> None:
    thread = await a_thread(ana)
    path = f"/v1/threads/{thread}/runs/stream"
    async with streamed(ana, "POST", path, json={"text": "What mail do I have?"}) as events:
        told = [e async for e in events]
    kinds = [e.event for e in told if e.event not in EARLY]
    assert kinds == [
        "run.started",
        "message.added",
        "message.added",
        "tool.requested",
        "tool.finished",
        "message.added",
        "run.completed",
        "end",
    ]
    written = "".join(json.loads(e.data)["text"] for e in told if e.event == "message.delta")
    assert json.loads(told[-3].data)["message"]["text"].startswith(written)
    numbers = [int(e.id) for e in told if e.id and ":" not in e.id]
    assert numbers == list(range(numbers[0], numbers[0] + 7))


async def test_reader_who_comes_back_elsewhere_in_the_middle_of_an_answer_misses_and_repeats_nothing(
    door: Door, slow_tenant: str
) -> None:
    key = door.key(slow_tenant, "cleo")
    async with door.caller(key) as cleo:
        with door.another() as elsewhere:
            thread, had = await _until_in_the_middle(cleo)
            run = json.loads(had[-1].data)["run_id"]
            async with door.caller(key, elsewhere.url) as again:
                path = f"/v1/threads/{thread}/runs/{run}/stream"
                headers = {"Last-Event-ID": had[-1].id or ""}
                async with streamed(again, "GET", path, headers=headers) as events:
                    had += [e async for e in events]
        text = "".join(json.loads(e.data)["text"] for e in had if e.event == "message.delta")
        final = json.loads(next(e.data for e in had[::-1] if e.event == "message.added"))["message"]["text"]
        assert final.startswith(text)
        numbers = [int(e.id) for e in had if e.id and ":" not in e.id]
        assert numbers == list(range(2, 6))


async def _until_in_the_middle(client: httpx.AsyncClient) -> tuple[str, list[Frame]]:
    """Reads a run until a few pieces of its answer have come, and leaves. Pieces are best effort: on a machine that is busy an
    answer may come whole, and another thread is asked."""
    for _ in range(20):
        thread, had = await a_thread(client), list[Frame]()
        async with streamed(client, "POST", f"/v1/threads/{thread}/runs/stream", json={"text": "write"}) as events:
            async for event in events:
                had.append(event)
                if sum(e.event == "message.delta" for e in had) >= 2:
                    return thread, had
    raise AssertionError("every answer came in one piece")


async def test_thread_that_is_followed_tells_of_every_run(ana: httpx.AsyncClient) -> None:
    thread = await a_thread(ana)
    told: list[Frame] = []

    async def follow() -> None:
        async with streamed(ana, "GET", f"/v1/threads/{thread}/events") as events:
            async for event in events:
                told.append(event)

    following = asyncio.create_task(follow())
    for n in range(2):
        await ana.post(f"/v1/threads/{thread}/runs/wait", json={"text": f"hello {n}"})
    await ana.delete(f"/v1/threads/{thread}")
    await asyncio.wait_for(following, 120)
    kinds = [e.event for e in told if e.event != "message.delta"]
    one = ["run.started", "message.added", "message.added", "run.completed"]
    assert kinds == ["thread.changed", *one, *one, "thread.changed", "end"]


async def test_run_is_known_before_a_worker_has_read_it_and_can_be_cancelled(door: Door, slow_tenant: str) -> None:
    async with door.caller(door.key(slow_tenant, "dan")) as dan:
        thread = await a_thread(dan)
        first = (await dan.post(f"/v1/threads/{thread}/messages", json={"text": "one"})).json()["run_id"]
        second = (await dan.post(f"/v1/threads/{thread}/messages", json={"text": "two"})).json()["run_id"]
        told = (await dan.get(f"/v1/threads/{thread}/runs/{second}")).json()
        assert told["status"] == "pending"
        for run in (first, second):
            assert (await dan.post(f"/v1/threads/{thread}/runs/{run}/cancel")).status_code == 202

        async def status(run: str) -> str:
            return str((await dan.get(f"/v1/threads/{thread}/runs/{run}")).json()["status"])

        for run in (first, second):
            await until_true(lambda run=run: _is(status(run), "cancelled"))


async def _is(given: object, wanted: str) -> bool:
    return bool(await given == wanted)  # type: ignore[misc]


async def test_approval_is_listed_and_of_two_who_decide_the_second_is_told(ana: httpx.AsyncClient) -> None:
    thread = await a_thread(ana)
    paused = (await ana.post(f"/v1/threads/{thread}/runs/wait", json={"text": RULES_TASK})).json()
    (approval,) = paused["approvals"]
    assert (paused["status"], approval["tool"]) == ("paused", "Asana_CreateTask")
    open_ones = (await ana.get("/v1/approvals")).json()["approvals"]
    assert approval in open_ones

    path = f"/v1/threads/{thread}/approvals/{approval['call_id']}"
    first, second = await asyncio.gather(
        ana.post(path, json={"decision": "approve"}), ana.post(path, json={"decision": "reject"})
    )
    assert sorted([first.status_code, second.status_code]) == [200, 409]
    winner, loser = (first, second) if first.status_code == 200 else (second, first)
    assert loser.json()["code"] == "approval_settled"
    assert loser.json()["decision"] == winner.json()["decision"]
    done = (await ana.get(f"/v1/threads/{thread}/runs/{paused['run_id']}/join")).json()
    assert done["status"] == "completed"
    assert (await ana.post(path, json={"decision": "approve"})).status_code == 409


async def test_agents_me_and_audit_say_what_is_mine(ana: httpx.AsyncClient) -> None:
    agents = (await ana.get("/v1/agents")).json()["agents"]
    assert [a["agent_id"] for a in agents if a["kind"] == "agent"] == ["default"]
    assert {"helper", "both"} <= {a["agent_id"] for a in agents if a["kind"] == "graph"}
    assert (await ana.get("/v1/agents/default")).json() == agents[0]
    assert agents[0] == {"agent_id": "default", "name": "Assistant", "description": "", "kind": "agent"}
    me = (await ana.get("/v1/me")).json()
    assert (me["tenant_id"], me["user_id"], me["scopes"]) == ("home", "ana", ["approve", "read", "write"])
    thread = await a_thread(ana)

    async def told() -> bool:
        events = (await ana.get("/v1/audit", params={"limit": 500})).json()["events"]
        return any(e["action"] == "thread.create" and e["thread_id"] == thread for e in events)

    await until_true(told)


async def test_events_are_read_in_pages_by_their_user_and_by_administrators(door: Door) -> None:
    tenant = door.tenant()
    boss_key = door.key(tenant, "boss", "--scope", "admin")
    callers = door.caller(door.key(tenant, "ben")), door.caller(door.key(tenant, "bob")), door.caller(boss_key)
    async with callers[0] as ben, callers[1] as bob, callers[2] as boss:
        mine = [await a_thread(ben) for _ in range(3)]
        theirs = [await a_thread(bob) for _ in range(2)]

        async def pages(client: httpx.AsyncClient, path: str, **params: str | int) -> list[str]:
            """The threads that were made, by event, from all pages."""
            found: list[str] = []
            while True:
                page = (await client.get(path, params=params)).json()
                made = [e["thread_id"] for e in page["events"] if e["action"] == "thread.create"]
                found = made + found
                if page["before"] is None:
                    return found
                params = {**params, "before": page["before"]}

        async def told() -> bool:
            return {*mine, *theirs} <= {*await pages(boss, "/v1/admin/audit")}

        await until_true(told)
        assert sorted(await pages(ben, "/v1/audit", limit=1)) == sorted(mine)
        assert sorted(await pages(boss, "/v1/admin/audit", limit=2, user_id="bob")) == sorted(theirs)
        assert sorted(await pages(boss, "/v1/admin/audit", limit=2)) == sorted([*mine, *theirs])
        assert (await ben.get("/v1/admin/audit")).status_code == 403
        for wrong in ("x", "WzEsMV0=", "e30=", "WzFlOTksICIiXQ==", "WzEsICJcdWQ4MDAiXQ=="):
            refused = await ben.get("/v1/audit", params={"before": wrong})
            assert (refused.status_code, "`before` of a page" in refused.text) == (422, True)


async def test_what_agents_are_told_and_how_they_are_configured_is_for_administrators(door: Door) -> None:
    tenant = door.tenant("--instructions", "The safe is behind the picture.")
    for path in ("/v1/agents", "/v1/agents/default", "/lg/assistants/agent", "/lg/assistants/search"):
        method = "POST" if path.endswith("search") else "GET"
        async with door.caller(door.key(tenant, "eve")) as eve:
            told = await eve.request(method, path)
            assert (told.status_code, "safe" in told.text, "rules" in told.text) == (200, False, False)
    async with door.caller(door.key(tenant, "boss", "--scope", "read", "--scope", "admin")) as boss:
        told = (await boss.get("/v1/agents/default")).json()
        assert (told["instructions"], told["tools"]) == ("The safe is behind the picture.", ["*"])


async def test_text_runs_a_hosted_graph_and_its_question_is_shown(ana: httpx.AsyncClient) -> None:
    thread = (await ana.post("/v1/threads", json={})).json()["thread_id"]
    had = []
    async with streamed(ana, "POST", f"/v1/threads/{thread}/runs/stream", json={"text": "hi", "agent": "slow"}) as told:
        had = [event async for event in told]
    kinds = [event.event for event in had]
    assert kinds[-2:] == ["run.completed", "end"]
    said: dict[str, str] = {}
    for event in had:
        if event.event == "message.delta":
            piece = json.loads(event.data)
            assert piece["offset"] == len(said.get(piece["message_id"], ""))
            said[piece["message_id"]] = said.get(piece["message_id"], "") + piece["text"]
    added = [json.loads(e.data)["message"] for e in had if e.event == "message.added"]
    assert [m["role"] for m in added] == ["user", "assistant", "assistant"]
    whole = {m["message_id"]: m["text"] for m in added if m["role"] == "assistant"}
    assert said.keys() <= whole.keys()
    # Pieces come in their order and are best effort: those that the whole message has overtaken are not told any more.
    assert said
    assert all(whole[message_id].startswith(text) for message_id, text in said.items())

    headers = {"Idempotency-Key": "k1"}
    results = [
        (
            await ana.post(f"/v1/threads/{thread}/runs/wait", json={"text": "ask", "agent": "helper"}, headers=headers)
        ).json()
        for _ in range(2)
    ]
    assert results[0]["run_id"] == results[1]["run_id"]
    assert (results[0]["status"], results[0]["interrupts"][0]["value"]["question"]) == ("paused", "Send it?")
    assert (await ana.get("/v1/agents/helper")).json()["kind"] == "graph"
