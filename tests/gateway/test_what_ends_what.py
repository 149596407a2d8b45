"""The table "what ends what" of docs/security.md, cell by cell. All ends are made in one system, at the same time."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from door import Door, until_true
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


@dataclass
class Person:
    """A user with a credential, and a thread whose run takes longer than the test."""

    door: Door
    tenant: str
    user: str
    kind: str
    headers: Mapping[str, str]
    credential_id: str
    thread: str = ""
    run: str = ""
    open: int = 0
    """How many of its streams and waits are open."""
    saw: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By stream, the code and the status that it ended with."""

    def caller(self) -> httpx.AsyncClient:
        headers = {**self.headers, "x-cauce-request": "1"}
        return httpx.AsyncClient(base_url=self.door.url, headers=headers, timeout=120, trust_env=False)


@dataclass(frozen=True)
class End:
    """An end of access: how it is made, and what those who are cut off by it are told."""

    credential: str
    make: Callable[[Person], Any]
    code: str
    status: int


def told(*command: str) -> Callable[[Person], Any]:
    """Made by a command of `cauce`."""

    def make(person: Person) -> Any:
        about = {"TENANT": person.tenant, "USER": person.user, "KEY": person.credential_id}
        return person.door.told(*(about.get(word, word) for word in command))

    return make


async def log_out(person: Person) -> None:
    async with person.caller() as client:
        assert (await client.post("/auth/logout")).status_code == 200


ENDS: dict[str, End] = {
    "key revoked": End("key", told("tenant", "key", "revoke", "TENANT", "KEY"), "revoked", 401),
    "session ended": End("session", log_out, "revoked", 401),
    "tenant paused": End("key", told("tenant", "set", "TENANT", "--pause"), "tenant_paused", 403),
}


async def _read(person: Person, method: str, path: str, body: Any = None) -> str:
    """All that a stream gives until it ends."""
    async with person.caller() as client, client.stream(method, path, json=body) as response:
        assert response.status_code == 200, await response.aread()
        person.open += 1
        return (await response.aread()).decode()


def _last_event(text: str) -> tuple[str, Any]:
    """The last event of a stream that says something."""
    events = [block for block in text.split("\n\n") if re.search(r"^data: .", block, re.MULTILINE)]
    last = [block for block in events if "event: end" not in block][-1]
    data = re.findall(r"^data: (.*)$", last, re.MULTILINE)[-1]
    name = re.search(r"^event: (.*)$", last, re.MULTILINE)
    return name[1] if name else "", json.loads(data)


async def _v1(person: Person) -> tuple[str, int]:
    name, data = _last_event(await _read(person, "GET", f"/v1/threads/{person.thread}/events"))
    assert name == "error"
    return data["code"], data["status"]


async def _v1_run(person: Person) -> tuple[str, int]:
    name, data = _last_event(await _read(person, "GET", f"/v1/threads/{person.thread}/runs/{person.run}/stream"))
    assert name == "error"
    return data["code"], data["status"]


async def _lg(person: Person) -> tuple[str, int]:
    name, data = _last_event(await _read(person, "GET", f"/lg/threads/{person.thread}/stream"))
    assert name == "error"
    return data["error"], 0


async def _lg_run(person: Person) -> tuple[str, int]:
    name, data = _last_event(await _read(person, "GET", f"/lg/threads/{person.thread}/runs/{person.run}/stream"))
    assert name == "error"
    return data["error"], 0


async def _v2(person: Person) -> tuple[str, int]:
    body = {"channels": ["lifecycle", "messages"]}
    _, data = _last_event(await _read(person, "POST", f"/lg/threads/{person.thread}/stream/events", body))
    return _code_in(data), 0


async def _socket(person: Person, *channels: str) -> tuple[str, int]:
    url = f"{person.door.url.replace('http', 'ws', 1)}/lg/threads/{person.thread}/stream/events"
    headers = {**person.headers, "origin": person.door.url}
    said: Any = {}
    async with connect(url, additional_headers=headers, proxy=None) as opened:
        if channels:
            wanted = {"id": 1, "method": "subscription.subscribe", "params": {"channels": list(channels)}}
            await opened.send(json.dumps(wanted))
        person.open += 1
        try:
            while True:
                said = json.loads(await opened.recv())
        except ConnectionClosed as closed:
            return _code_in(said), closed.rcvd.code - 4000 if closed.rcvd else 0


async def _agui(person: Person) -> tuple[str, int]:
    messages = [{"id": "m1", "role": "user", "content": "write"}]
    about = {"threadId": f"{person.thread}-agui", "runId": "r1", "state": {}, "tools": [], "context": []}
    body = {**about, "forwardedProps": {}, "messages": messages}
    _, data = _last_event(await _read(person, "POST", "/agui", body))
    assert data["type"] == "RUN_ERROR"
    return data["code"], 0


async def _v1_join(person: Person) -> tuple[str, int]:
    data = json.loads(await _read(person, "GET", f"/v1/threads/{person.thread}/runs/{person.run}/join"))
    return data["code"], data["status"]


async def _lg_join(person: Person) -> tuple[str, int]:
    data = json.loads(await _read(person, "GET", f"/lg/threads/{person.thread}/runs/{person.run}/join"))
    return _code_in(data), 0


def _code_in(data: Any) -> str:
    """The code of a refusal, wherever its protocol has it."""
    text = json.dumps(data)
    codes = {end.code for end in ENDS.values()}
    return next((code for code in codes if f'"{code}"' in text), text)


STREAMS: dict[str, Callable[[Person], Awaitable[tuple[str, int]]]] = {
    "v1 thread": _v1,
    "v1 run": _v1_run,
    "lg thread": _lg,
    "lg run": _lg_run,
    "lg v2": _v2,
    "WebSocket": lambda person: _socket(person, "lifecycle"),
    "WebSocket without a subscription": _socket,
    "AG-UI": _agui,
}
WAITS: dict[str, Callable[[Person], Awaitable[tuple[str, int]]]] = {"v1 join": _v1_join, "lg join": _lg_join}


async def _key(door: Door, tenant: str, user: str) -> tuple[Mapping[str, str], str]:
    key = door.key(tenant, user)
    return {"x-api-key": key}, key.split(".")[2]


async def _session(door: Door, tenant: str, user: str) -> tuple[Mapping[str, str], str]:
    link = httpx.URL(door.told("login", "--tenant", tenant, "--user", user).strip())
    async with httpx.AsyncClient(trust_env=False, timeout=120) as browser:
        begun = await browser.post(
            f"{door.url}/login", data={"link": link.params["link"]}, headers={"origin": door.url}
        )
        assert begun.status_code == 303, begun.text
        return {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}, ""


CREDENTIALS = {"key": _key, "session": _session}


async def _person(door: Door, end: End) -> Person:
    """Somebody of a tenant of their own, whose thread has a run that takes long."""
    tenant, user = door.tenant("--model", "scripted:delay=600,tokens=1"), "ana"
    headers, credential_id = await CREDENTIALS[end.credential](door, tenant, user)
    person = Person(door, tenant, user, end.credential, headers, credential_id)
    async with person.caller() as client:
        person.thread = (await client.post("/v1/threads", json={})).json()["thread_id"]
        sent = await client.post(f"/v1/threads/{person.thread}/messages", json={"text": "write"})
        person.run = sent.json()["run_id"]

        async def runs() -> bool:
            run = (await client.get(f"/v1/threads/{person.thread}/runs/{person.run}")).json()
            return bool(run["status"] == "running")

        await until_true(runs)
    return person


async def _happens(door: Door, name: str) -> Person:
    """Opens everything that lasts, makes the end, and waits until all has ended."""
    end = ENDS[name]
    person = await _person(door, end)
    lasting = {**STREAMS, **WAITS}
    opened = {one: asyncio.ensure_future(follow(person)) for one, follow in lasting.items()}

    async def all_are_open() -> bool:
        for one, task in opened.items():
            assert not task.done(), f"{one} ended before the end was made: {task.result()}"
        return person.open == len(opened)

    await until_true(all_are_open)
    made = end.make(person)
    if not isinstance(made, str):
        await made
    async with asyncio.timeout(120):
        for one, task in opened.items():
            person.saw[one] = await task
    return person


@pytest.fixture(scope="module")
def happened(embedded: Door) -> dict[str, Person]:
    """All ends, at the same time."""

    async def all_of_them() -> list[Person]:
        return await asyncio.gather(*(_happens(embedded, name) for name in ENDS))

    return dict(zip(ENDS, asyncio.run(all_of_them()), strict=True))


@pytest.mark.parametrize("lasting", [*STREAMS, *WAITS])
@pytest.mark.parametrize("end", ENDS)
def test_what_lasts_ends_and_says_why(happened: dict[str, Person], end: str, lasting: str) -> None:
    code, status = happened[end].saw[lasting]
    assert code == ENDS[end].code
    assert status in (ENDS[end].status, 0)
