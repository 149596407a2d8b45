"""The table "what ends what" of docs/security.md, cell by cell. All ends are made in one system, at the same time."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from door import Door, until_true
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from cauce.settings import load_settings
from core.standing import standing
from schemas import ThreadHead, ThreadKey
from state import open_stores


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
    asking: str = ""
    """A thread whose run waits for an approval."""
    open: int = 0
    """How many of its streams and waits are open."""
    saw: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By stream, the code and the status that it ended with."""

    def caller(self) -> httpx.AsyncClient:
        headers = {**self.headers, "x-cauce-request": "1"}
        return httpx.AsyncClient(base_url=self.door.url, headers=headers, timeout=240, trust_env=False, verify=False)


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
    "provider removed": End("token", told("tenant", "login", "remove", "TENANT", "own"), "revoked", 401),
    "user blocked": End("key", told("user", "block", "TENANT", "USER"), "user_blocked", 403),
    "user signed out": End("session", told("user", "sign-out", "TENANT", "USER", "--yes"), "revoked", 401),
    "tenant paused": End("key", told("tenant", "pause", "TENANT"), "tenant_paused", 403),
    "tenant closed": End("session", told("tenant", "close", "TENANT", "--yes"), "tenant_closed", 403),
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
    return (data["code"], data["status"]) if name == "error" else (RUN_ENDED, 0)


async def _lg(person: Person) -> tuple[str, int]:
    name, data = _last_event(await _read(person, "GET", f"/lg/threads/{person.thread}/stream"))
    assert name == "error"
    return data["error"], 0


async def _lg_run(person: Person) -> tuple[str, int]:
    name, data = _last_event(await _read(person, "GET", f"/lg/threads/{person.thread}/runs/{person.run}/stream"))
    return (data["error"], 0) if name == "error" else (RUN_ENDED, 0)


async def _v2(person: Person) -> tuple[str, int]:
    body = {"channels": ["lifecycle", "messages"]}
    _, data = _last_event(await _read(person, "POST", f"/lg/threads/{person.thread}/stream/events", body))
    return _code_in(data), 0


async def _socket(person: Person, *channels: str) -> tuple[str, int]:
    url = f"{person.door.url.replace('http', 'ws', 1)}/lg/threads/{person.thread}/stream/events"
    headers = {**person.headers, "origin": person.door.url}
    said: Any = {}
    async with connect(url, additional_headers=headers, proxy=None, open_timeout=120, ping_interval=None) as opened:
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
    return (data["code"], 0) if data["type"] == "RUN_ERROR" else (RUN_ENDED, 0)


async def _v1_join(person: Person) -> tuple[str, int]:
    data = json.loads(await _read(person, "GET", f"/v1/threads/{person.thread}/runs/{person.run}/join"))
    return (data["code"], data["status"]) if "code" in data and "detail" in data else (RUN_ENDED, 0)


async def _lg_join(person: Person) -> tuple[str, int]:
    data = json.loads(await _read(person, "GET", f"/lg/threads/{person.thread}/runs/{person.run}/join"))
    return _code_in(data), 0


def _code_in(data: Any) -> str:
    """The code of a refusal, wherever its protocol has it."""
    text = json.dumps(data)
    codes = {end.code for end in ENDS.values()}
    return next((code for code in codes if f'"{code}"' in text), RUN_ENDED)


RUN_ENDED = "the run ended"
OF_A_RUN = ("v1 run", "lg run", "AG-UI", "v1 join", "lg join")
"""What follows one run: where its end is made, too, that may be what it sees first."""
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
    async with httpx.AsyncClient(trust_env=False, timeout=120, verify=False) as browser:
        begun = await browser.post(
            f"{door.url}/login", data={"link": link.params["link"]}, headers={"origin": door.url}
        )
        assert begun.status_code == 303, begun.text
        return {"cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}, ""


class Issuer(ThreadingHTTPServer):
    """An identity provider with one key, which it says to whoever asks."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        issuer = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                about = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks"}
                keys = {"keys": [{**public, "kid": "k1", "use": "sig", "alg": "RS256"}]}
                body = json.dumps(keys if self.path == "/jwks" else about).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def token(self, audience: str, user: str) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": audience, "sub": user, "iat": now, "exp": now + 3600}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k1", "typ": "at+jwt"})


async def _token(door: Door, tenant: str, user: str) -> tuple[Mapping[str, str], str]:
    about = ("--issuer", ISSUER.url, "--client-id", "cauce", "--audience", f"urn:{tenant}")
    door.told("tenant", "login", "add", tenant, "own", *about)
    door.told("user", "link", tenant, user, "--provider", "own", "--subject", user)
    headers = {"authorization": f"Bearer {ISSUER.token(f'urn:{tenant}', user)}"}

    async def is_known() -> bool:  # gateways look for new providers every few seconds
        async with httpx.AsyncClient(trust_env=False, timeout=120, verify=False) as client:
            return (await client.get(f"{door.url}/v1/me", headers=headers)).status_code == 200

    await until_true(is_known)
    return headers, ""


ISSUER = Issuer()
CREDENTIALS = {"key": _key, "session": _session, "token": _token}


async def _person(door: Door, end: End) -> Person:
    """Somebody of a tenant of their own, whose thread has a run that takes long."""
    tenant, user = door.tenant("--model", "scripted:delay=600,tokens=1"), "ana"
    door.told("tenant", "set", tenant, "--agent", "asker", "--model", "rules")
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
        queued = await client.post(f"/v1/threads/{person.thread}/messages", json={"text": "and then"})
        assert queued.status_code == 202, queued.text
        person.asking = (await client.post("/v1/threads", json={})).json()["thread_id"]
        wanted = {"text": "create a task to water the plants tomorrow", "agent": "asker"}
        asked = (await client.post(f"/v1/threads/{person.asking}/runs/wait", json=wanted)).json()
        assert asked["status"] == "paused", asked
    return person


async def _all_happen(door: Door) -> dict[str, Person]:
    """Everything that lasts is opened for everybody, then all ends are made, then all has to have ended."""
    people = {name: await _person(door, end) for name, end in ENDS.items()}
    opened = {
        (name, one): asyncio.ensure_future(follow(person))
        for name, person in people.items()
        for one, follow in {**STREAMS, **WAITS}.items()
    }

    async def all_are_open() -> bool:
        for which, task in opened.items():
            assert not task.done(), f"{which} ended before the end was made: {task.result()}"
        return sum(person.open for person in people.values()) == len(opened)

    await until_true(all_are_open)
    for name, person in people.items():
        made = ENDS[name].make(person)
        if not isinstance(made, str):
            await made
    async with asyncio.timeout(240):
        for (name, one), task in opened.items():
            people[name].saw[one] = await task
    return people


@pytest.fixture(scope="module")
def happened(embedded: Door) -> dict[str, Person]:
    """All ends, at the same time."""

    serving = threading.Thread(target=ISSUER.serve_forever, daemon=True)
    serving.start()
    try:
        return asyncio.run(_all_happen(embedded))
    finally:
        ISSUER.shutdown()
        ISSUER.server_close()
        serving.join()


@pytest.mark.parametrize("lasting", [*STREAMS, *WAITS])
@pytest.mark.parametrize("end", ENDS)
def test_what_lasts_ends_and_says_why(happened: dict[str, Person], end: str, lasting: str) -> None:
    code, status = happened[end].saw[lasting]
    if lasting in OF_A_RUN and ENDS[end].code in ("user_blocked", "tenant_closed"):
        assert code in (ENDS[end].code, RUN_ENDED)
        return
    assert code == ENDS[end].code
    assert status in (ENDS[end].status, 0)


NEW: dict[str, tuple[int, str]] = {
    "key revoked": (401, "bad_credential"),
    "session ended": (401, "credential_missing"),
    "provider removed": (401, "bad_credential"),
    "user blocked": (403, "user_blocked"),
    "user signed out": (401, "credential_missing"),
    "tenant paused": (403, "tenant_paused"),
    "tenant closed": (403, "tenant_closed"),
}


@pytest.mark.parametrize("end", ENDS)
async def test_new_requests_are_refused(happened: dict[str, Person], end: str) -> None:
    person = happened[end]
    async with person.caller() as client:

        async def refused() -> tuple[int, str] | None:
            sent = await client.post(f"/v1/threads/{person.thread}/messages", json={"text": "hello"})
            return None if sent.status_code == 202 else (sent.status_code, sent.json()["code"])

        assert await until_true(refused) == NEW[end]
        assert (await client.get("/v1/threads")).status_code == (200 if end == "tenant paused" else NEW[end][0])
        stream = await client.get(f"/v1/threads/{person.thread}/events")
        assert stream.status_code == NEW[end][0]


async def _heads(person: Person) -> tuple[ThreadHead, ThreadHead]:
    """The thread that works, and the one that asks, as the store has them."""
    stores = open_stores(load_settings(environment=person.door.environment).state_url)
    await stores.open()
    try:
        found = [
            (await standing(stores.journal, ThreadKey(person.tenant, one), window=0)).head
            for one in (person.thread, person.asking)
        ]
    finally:
        await stores.close()
    working, asking = found
    assert working
    assert asking
    return working, asking


@pytest.mark.parametrize("end", ["user blocked", "tenant closed"])
async def test_running_turns_queued_inputs_and_approvals_end_with_their_user_or_tenant(
    happened: dict[str, Person], end: str
) -> None:
    async def all_ended() -> bool:
        return all(head.run is None and not head.queued for head in await _heads(happened[end]))

    await until_true(all_ended)
    working, asking = await _heads(happened[end])
    assert [head.last.outcome if head.last else None for head in (working, asking)] == ["cancelled", "cancelled"]


@pytest.mark.parametrize("end", ["key revoked", "session ended", "provider removed", "user signed out"])
async def test_the_end_of_a_credential_ends_no_work(happened: dict[str, Person], end: str) -> None:
    working, asking = await _heads(happened[end])
    assert working.run
    assert asking.condition == "approval"


async def test_a_paused_tenants_work_waits_and_continues_when_it_is_resumed(happened: dict[str, Person]) -> None:
    person = happened["tenant paused"]
    working, asking = await _heads(person)
    assert working.run
    assert asking.condition == "approval"
    async with person.caller() as client:
        (call,) = asking.approvals
        path = f"/v1/threads/{person.asking}/approvals/{call.id}"
        refused = await client.post(path, json={"decision": "approve"})
        assert refused.json()["code"] == "tenant_paused", refused.text
        person.door.told("tenant", "resume", person.tenant)

        async def decided() -> bool:
            return (await client.post(path, json={"decision": "approve"})).status_code < 300

        await until_true(decided)

        async def done() -> bool:
            return (await _heads(person))[1].run is None

        await until_true(done)
