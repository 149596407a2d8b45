"""The emulated Gmail and Asana answer as the real services do, and forget nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from emulated import Emulated, bearer, emulators

from connectors.arcade import ArcadeClient, Catalogue
from connectors.emulators.emulated_data import Store
from connectors.emulators.emulator_server import EMULATOR_HEADER, create_app
from connectors.emulators.engine import Engine
from connectors.emulators.gmail import matches
from connectors.emulators.seed import OWNER_ADDRESS

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "accounts.json", datetime.now(UTC))


@pytest.fixture
async def api(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """A client of both services with a valid access token."""
    engine = Engine("secret", base_url="http://emulators")
    token = engine.token_for("u1", "google")
    transport = httpx.ASGITransport(create_app(store, engine, "key"))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://emulators", headers={"Authorization": f"Bearer {token}"}
    ) as client:
        yield client


def mail(**fields: Any) -> dict[str, Any]:
    return {
        "from": "Ana <ana@correo.example>",
        "to": OWNER_ADDRESS,
        "subject": "Invoice 2041 is due",
        "body": "Please pay by Friday.",
        "labels": ["INBOX", "UNREAD"],
        "at": (NOW - timedelta(days=3)).isoformat(),
        **fields,
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", True),
        ("from:ana", True),
        ("from:laura", False),
        ("-from:laura", True),
        ("-from:ana", False),
        ("to:you@cauce.example", True),
        ("subject:invoice", True),
        ('subject:"invoice 2041"', True),
        ('subject:"2041 invoice"', False),
        ("is:unread", True),
        ("is:read", False),
        ("in:inbox", True),
        ("in:sent", False),
        ("in:anywhere", True),
        ("label:unread", True),
        ("newer_than:7d", True),
        ("newer_than:2d", False),
        ("older_than:2d", True),
        ("older_than:1m", False),
        ("newer_than:soon", False),
        ("has:attachment", False),
        ("friday", True),
        ("friday monday", False),
        ('"pay by"', True),
        ("from:ana is:unread invoice", True),
        ("from:ana is:read invoice", False),
    ],
)
def test_the_search_understands_gmail_s_operators(query: str, found: bool) -> None:
    assert matches(mail(), query, NOW) is found


def raw(subject: str, to: str = "ana@correo.example", body: str = "Hello") -> str:
    message = EmailMessage()
    message["To"], message["Subject"] = to, subject
    message.set_content(body)
    return base64.urlsafe_b64encode(bytes(message)).decode()


async def subjects(api: httpx.AsyncClient, query: str) -> list[str]:
    rows = (await api.get("/gmail/v1/users/me/messages", params={"q": query})).json()["messages"]
    found = [(await api.get(f"/gmail/v1/users/me/messages/{row['id']}")).json() for row in rows]
    return [next(h["value"] for h in m["payload"]["headers"] if h["name"] == "Subject") for m in found]


async def test_a_mail_that_is_sent_is_found_among_the_sent_and_counted_once(
    api: httpx.AsyncClient, store: Store
) -> None:
    answer = await api.post("/gmail/v1/users/me/messages/send", json={"raw": raw("Grüße — 1")})
    assert answer.status_code == 200
    assert answer.json()["labelIds"] == ["SENT"]
    assert await subjects(api, "in:sent subject:grüße") == ["Grüße — 1"]
    assert [e["subject"] for e in store.data["effects"]] == ["Grüße — 1"]


async def test_a_reply_stays_in_its_thread(api: httpx.AsyncClient) -> None:
    first = (await api.post("/gmail/v1/users/me/messages/send", json={"raw": raw("a")})).json()
    reply = {"raw": raw("Re: a"), "threadId": first["threadId"]}
    assert (await api.post("/gmail/v1/users/me/messages/send", json=reply)).json()["threadId"] == first["threadId"]


async def test_a_draft_is_kept_until_it_is_sent(api: httpx.AsyncClient) -> None:
    draft = (await api.post("/gmail/v1/users/me/drafts", json={"message": {"raw": raw("later")}})).json()
    assert await subjects(api, "subject:later") == []
    listed = (await api.get("/gmail/v1/users/me/drafts")).json()["drafts"]
    assert [d["id"] for d in listed] == [draft["id"]]
    await api.post("/gmail/v1/users/me/drafts/send", json={"id": draft["id"]})
    assert await subjects(api, "in:sent") == ["later"]
    assert (await api.get("/gmail/v1/users/me/drafts")).json()["drafts"] == []
    assert (await api.post("/gmail/v1/users/me/drafts/send", json={"id": draft["id"]})).status_code == 404


async def test_a_task_is_made_found_changed_and_done(api: httpx.AsyncClient, store: Store) -> None:
    made = await api.post("/api/1.0/tasks", json={"data": {"name": "Paint the door", "due_on": "2026-02-01"}})
    assert made.status_code == 201
    task = made.json()["data"]
    assert (task["resource_type"], task["due_on"], task["completed"]) == ("task", "2026-02-01", False)

    async def open_tasks() -> list[str]:
        found = await api.get("/api/1.0/workspaces/11/tasks/search", params={"text": "paint", "completed": "false"})
        return [t["gid"] for t in found.json()["data"]]

    assert await open_tasks() == [task["gid"]]
    await api.put(f"/api/1.0/tasks/{task['gid']}", json={"data": {"completed": True}})
    assert await open_tasks() == []
    assert (await api.get(f"/api/1.0/tasks/{task['gid']}")).json()["data"]["completed"] is True
    assert [e["kind"] for e in store.data["effects"]] == ["task", "update"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/gmail/v1/users/me/messages/m999", None, 404, "Requested entity was not found."),
        ("POST", "/gmail/v1/users/me/messages/send", {"raw": "!"}, 400, "Recipient address required"),
        ("POST", "/gmail/v1/users/me/messages/send", {}, 400, "raw"),
        ("GET", "/api/1.0/tasks/999", None, 404, "task: Unknown object: 999"),
        ("POST", "/api/1.0/tasks", {"data": {}}, 400, "name: Missing input"),
        ("POST", "/api/1.0/tasks", {"data": {"name": "x", "due_on": "soon"}}, 400, "due_on: Not a valid date: soon"),
        ("POST", "/api/1.0/tasks", {"data": {"name": "x", "projects": ["0"]}}, 400, "Not a recognized ID: 0"),
    ],
)
async def test_errors_have_the_shape_of_their_service(
    api: httpx.AsyncClient, method: str, path: str, body: Any, status: int, words: str
) -> None:
    answer = await api.request(method, path, json=body)
    assert answer.status_code == status
    told = answer.json()
    message = told["error"]["message"] if path.startswith("/gmail/") else told["errors"][0]["message"]
    assert words in message


@pytest.mark.parametrize("path", ["/gmail/v1/users/me/messages", "/api/1.0/users/me"])
async def test_without_a_token_of_a_connected_user_nothing_is_told(api: httpx.AsyncClient, path: str) -> None:
    assert (await api.get(path)).status_code == 200
    answer = await api.get(path, headers={"Authorization": "Bearer tok_forged"})
    assert answer.status_code == 401
    assert "Laura" not in answer.text


async def test_every_answer_says_that_it_is_emulated(api: httpx.AsyncClient) -> None:
    for path in ("/", "/gmail/v1/users/me/profile", "/api/1.0/nothing", "/v1/tools"):
        assert (await api.get(path)).headers[EMULATOR_HEADER] == "1"


async def test_the_page_shows_what_came_in_as_text_and_not_as_markup(api: httpx.AsyncClient) -> None:
    await api.post("/api/1.0/tasks", json={"data": {"name": "<script>alert(1)</script>"}})
    page = (await api.get("/", headers=bearer("key"))).text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in page


async def test_the_page_and_the_switches_want_the_key(api: httpx.AsyncClient) -> None:
    wanted = [
        ("GET", "/"),
        ("GET", "/_ctl/effects"),
        ("POST", "/_ctl/reset"),
        ("POST", "/_ctl/fault"),
        ("GET", "/_ctl/"),
    ]
    for method, path in wanted:
        for headers in ({"authorization": ""}, {}, bearer("kez"), {"cookie": "cauce_emulators=kez"}):
            refused = await api.request(method, path, headers=headers)
            assert refused.status_code == 401, (method, path, headers)
            assert "Laura" not in refused.text
    assert (await api.get("/_ctl/effects", headers=bearer("key"))).status_code == 200
    entered = await api.get("/?key=key")
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=strict"} <= set(entered.headers["set-cookie"].split("; "))
    assert "Emulated Gmail" in (await api.get("/", headers={"authorization": ""})).text


async def test_pages_of_others_and_names_that_lead_here_are_refused_even_with_the_key(api: httpx.AsyncClient) -> None:
    for strange in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "evil.example"},
    ):
        for path in ("/", "/_ctl/reset", "/v1/tools", "/gmail/v1/users/me/messages"):
            assert (await api.post(path, headers={**bearer("key"), **strange})).status_code == 403, strange
    ours = {"origin": "http://emulators", "sec-fetch-site": "same-origin"}
    assert (await api.get("/_ctl/effects", headers={**bearer("key"), **ours})).status_code == 200


async def test_what_was_accepted_survives_a_kill_and_so_does_the_key(tmp_path: Path) -> None:
    async def tasks(running: Emulated) -> str:
        client = ArcadeClient(running.base_url, running.api_key, timeout=120)
        catalogue = Catalogue(client.list_tools)
        listing = await catalogue.get("Asana_GetTasksWithoutId")
        assert listing
        outcome = await client.execute(tool=listing, arguments={}, user_id="acme.u1")
        await client.close()
        return json.dumps(outcome.value)

    async with emulators(tmp_path) as running:
        key, address = running.api_key, running.base_url
        client = ArcadeClient(running.base_url, running.api_key, timeout=120)
        create = await Catalogue(client.list_tools).get("Asana_CreateTask")
        assert create
        outcome = await client.execute(tool=create, arguments={"name": "Outlive this"}, user_id="acme.u1")
        assert outcome.kind == "ok"
        await client.close()
        await running.process.kill()
        await running.process.start()
        assert (running.api_key, running.base_url) == (key, address)
        assert "Outlive this" in await tasks(running)
        assert len(await running.effects("Outlive this")) == 1
