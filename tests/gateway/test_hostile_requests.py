"""Hostile bodies, parameters and headers at every route of the LangGraph API and AG-UI: none is a failure of the gateway.

(`/v1` is fuzzed from its OpenAPI document, `test_bad_requests.py`.)
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import websockets
from door import Door, Gateway

from connectors.gateway.protocols.agui.routes import router
from connectors.gateway.protocols.lg.application import ROUTES

SEED = int(os.environ.get("HOSTILE_SEED", "14"))
TRIES = int(os.environ.get("HOSTILE_TRIES", "12"))
"""Requests for each route and method."""


class Raw(str):
    """JSON text that `json` would not write."""


def _deep(levels: int) -> Any:
    value: Any = 1
    for n in range(levels):
        value = {"messages": value} if n % 2 else [value]
    return value


VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 10**30, 1.5, 1e308, -0.0),
    *("", " ", "x", "²", "٣", "a\x00b", "\x00", "-1", "1e400", "nan", "😀" * 50, "../..", "a" * 20_000, "a:b", "%00"),
    *([], [[]], [None], [{}], [1, "x"], ["x", {}], {}, {"": {}}, {"a": None}, {"type": {}}, {"id": {}}, {"x": "\x00"}),
    *({"configurable": {}}, {"configurable": 7}, {"checkpoint_id": {}}, {"resume": {}}, {"goto": [{}]}, {"ttl": 1e308}),
    *(
        {"role": {}, "content": {}},
        {"messages": {}},
        {"messages": [{"type": [], "id": [], "content": [{}]}]},
        _deep(30),
    ),
    *(
        _deep(40),
        Raw("1e400"),
        Raw("NaN"),
        Raw('"\\ud83d"'),
        Raw("[" * 5_000 + "]" * 5_000),
        Raw("9" * 5_000),
        Raw("{"),
    ),
]
TEXTS = [value for value in VALUES if isinstance(value, str) and not isinstance(value, Raw)]
HEADERS = (
    "last-event-id",
    "x-request-id",
    "traceparent",
    "idempotency-key",
    "cookie",
    "prefer",
    "user-agent",
    "accept",
)
HEADER_VALUES = (
    b"",
    b"\xe9\xff",
    b"cauce_session=\xe9.\xff; cauce_login=\xff",
    b"-1",
    b"1:x:1" + b",1=1" * 300,
    b"9" * 3_000,
)
QUERY = (
    *("limit", "offset", "xray", "stream_mode", "cancel_on_disconnect", "status", "action", "wait", "include", "since"),
    *("subgraphs", "namespace", "key", "recurse", "before", "checkpoint_id", "metadata"),
)

SAYS = {"messages": [{"role": "user", "content": "hello"}]}
RUN = {
    "assistant_id": "agent",
    "input": SAYS,
    "command": None,
    "config": {},
    "context": {},
    "metadata": {},
    "checkpoint": None,
    "checkpoint_id": None,
    "stream_mode": ["values"],
    "stream_subgraphs": False,
    "stream_resumable": False,
    "multitask_strategy": "enqueue",
    "if_not_exists": "create",
    "on_disconnect": "cancel",
    "on_completion": "delete",
    "after_seconds": None,
    "durability": "async",
    "interrupt_before": None,
    "webhook": None,
}
COMMAND = {"id": 1, "method": "run.start", "params": {"assistant_id": "agent", "input": SAYS}}
PAGE = {"limit": 10, "offset": 0, "metadata": {}, "sort_by": None, "sort_order": None, "select": None}
BODIES: dict[str, dict[str, Any]] = {
    "/assistants": {
        "graph_id": "helper",
        "assistant_id": None,
        "name": "n",
        "config": {},
        "context": {},
        "metadata": {},
    },
    "/assistants/search": {**PAGE, "graph_id": None, "name": None},
    "/assistants/count": {"metadata": {}, "graph_id": None, "name": None},
    "/assistants/{assistant_id}": {"name": "n", "description": "d", "config": {}, "context": {}, "graph_id": None},
    "/assistants/{assistant_id}/versions": PAGE,
    "/assistants/{assistant_id}/latest": {"version": 1},
    "/threads": {"thread_id": None, "metadata": {}, "if_exists": "raise", "ttl": None, "supersteps": []},
    "/threads/search": {**PAGE, "ids": None, "values": None, "status": None},
    "/threads/count": {"metadata": {}, "values": None, "status": None},
    "/threads/prune": {"thread_ids": [], "strategy": "delete"},
    "/threads/{thread_id}": {"metadata": {"title": "t"}, "ttl": None},
    "/threads/{thread_id}/state": {"values": SAYS, "as_node": None, "checkpoint": None, "checkpoint_id": None},
    "/threads/{thread_id}/state/{checkpoint_id}": {"checkpoint": {}, "subgraphs": False},
    "/threads/{thread_id}/history": {"limit": 10, "before": None, "metadata": {}, "checkpoint": None},
    "/threads/{thread_id}/commands": COMMAND,
    "/threads/{thread_id}/stream/events": {"channels": ["values"], "since": 0, "namespaces": [], "depth": 1},
    "/runs/cancel": {"status": None, "run_ids": ["r"], "thread_id": None},
    "/store/items": {"namespace": ["a"], "key": "k", "value": {}, "ttl": None},
    "/store/items/search": {"namespace_prefix": [], "filter": {}, "query": None, "limit": 1, "offset": 0},
    "/store/namespaces": {"prefix": [], "suffix": [], "max_depth": 1, "limit": 1, "offset": 0},
    "/agui": {
        "threadId": "a1",
        "runId": "r1",
        "state": {},
        "tools": [],
        "context": [],
        "forwardedProps": {},
        "resume": [],
        "messages": [{"id": "1", "role": "user", "content": "hello"}],
    },
}
BODIES |= {"/agui/{agent_id}": BODIES["/agui"]}
PLACES = [
    *(("/lg", route.path, method) for route in ROUTES for method in sorted(getattr(route, "methods", None) or ())),
    *(("", route.path, method) for route in router.routes for method in sorted(route.methods)),  # type: ignore[attr-defined]
]


@pytest.fixture(scope="module")
def patient(embedded: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Path]]:
    """A gateway that lets one user do much, and its log."""
    folder = tmp_path_factory.mktemp("hostile")
    rates = {f"CAUCE_RATE_{name}": "1000000/minute" for name in ("USER", "TENANT", "RUNS")}
    with Door(embedded.url, embedded.told, {**embedded.environment, **rates}, folder).another() as gateway:
        yield gateway, folder / "gateway.log"


def _text(value: Any) -> str:
    """JSON, also where it has what is none."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{_text(one)}" for name, one in value.items()) + "}"
    return "[" + ",".join(map(_text, value)) + "]" if isinstance(value, list) else json.dumps(value)


def _hostile(rng: random.Random, base: Any) -> Any:
    """A body with one or two of its values, or a value in them, replaced; sometimes none at all."""
    if not isinstance(base, dict) or not base or rng.random() < 0.1:
        return rng.choice(VALUES)
    found = dict(base)
    for name in rng.sample(sorted(found), rng.choice([1, 1, 2]) if len(found) > 1 else 1):
        inner = found[name][0] if isinstance(found[name], list) and found[name] else found[name]
        if isinstance(inner, dict) and inner and rng.random() < 0.6:
            made = _hostile(rng, inner)
            found[name] = [made] if isinstance(found[name], list) else made
        else:
            found[name] = rng.choice(VALUES)
    return found


def _requests(rng: random.Random, thread: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    known = {"thread_id": thread, "assistant_id": "helper", "agent_id": "helper", "run_id": "r"}
    for below, pattern, method in PLACES:
        if method == "HEAD":
            continue
        for _ in range(TRIES):
            path = below + pattern.replace("{rest:path}", "x")
            for name in ("thread_id", "assistant_id", "agent_id", "run_id", "checkpoint_id", "namespace"):
                given = known.get(name, "x") if rng.random() < 0.8 else rng.choice([*TEXTS, "checkpoint"])[:300]
                path = path.replace(f"{{{name}}}", quote(given, safe="") or "x")
            headers = [(b"content-type", b"application/json")]
            if rng.random() < 0.2:
                headers.append((rng.choice(HEADERS).encode(), rng.choice(HEADER_VALUES)))
            options: dict[str, Any] = {"headers": headers}
            if rng.random() < (0.8 if method == "GET" else 0.2):
                options["params"] = {rng.choice(QUERY): rng.choice(TEXTS)[:300] for _ in range(2)}
            if method != "GET":
                base = BODIES.get(pattern, RUN)
                body = [_hostile(rng, base)] if pattern.endswith("/batch") else _hostile(rng, base)
                options["content"] = _text(body)
            yield method, path, options


async def _answered(client: httpx.AsyncClient, method: str, path: str, options: dict[str, Any]) -> str:
    """What is wrong with the answer; nothing where it is fine. Of a stream the first bytes are read."""
    try:
        async with asyncio.timeout(120), client.stream(method, path, **options) as response:
            if response.status_code == 200 and "event-stream" in response.headers.get("content-type", ""):
                text = await anext(response.aiter_text(), "")
            else:
                text = (await response.aread()).decode()
            is_late = response.status_code == 503 and "not_done_yet" in text  # the machine is busy
            if (response.status_code >= 500 and not is_late) or "internal_error" in text:
                return f"{response.status_code} {text[:300]}"
            if response.status_code >= 400 and not json.loads(text)["detail"]:
                return f"{response.status_code} without words: {text[:300]}"
    except (httpx.HTTPError, TimeoutError, ValueError) as error:
        return repr(error)
    return ""


async def _each(client: httpx.AsyncClient, waiting: Iterator[tuple[str, str, dict[str, Any]]]) -> AsyncIterator[str]:
    for method, path, options in waiting:
        if wrong := await _answered(client, method, path, options):
            yield f"{method} {path} {options}: {wrong}"[:1500]


async def test_no_request_to_a_protocol_is_a_failure_of_the_gateway(
    embedded: Door, patient: tuple[Gateway, Path]
) -> None:
    gateway, log = patient
    key = embedded.key(embedded.tenant(), "mallory")
    async with embedded.caller(key, gateway.url) as client:
        thread = (await client.post("/v1/threads", json={})).json()["thread_id"]
        waiting, wrong = _requests(random.Random(SEED), thread), []

        async def worker() -> None:
            async for one in _each(client, waiting):
                wrong.append(one)

        await asyncio.gather(*(worker() for _ in range(8)))
    assert not wrong, f"seed {SEED}: {len(wrong)} failures\n" + "\n".join(wrong[:20])
    assert "Traceback" not in log.read_text()


async def test_no_header_or_cookie_of_a_stranger_is_a_failure_of_the_gateway(patient: tuple[Gateway, Path]) -> None:
    gateway, log = patient
    names = ("cookie", "origin", "sec-fetch-site", "x-api-key", "authorization", "x-forwarded-for", "x-forwarded-proto")
    values = (
        *HEADER_VALUES,
        b"http://[",
        b"http://x:y",
        b"Bearer \xe9.\xff.a",
        b"ck.home.\xe9.\xff",
        b"Bearer a.b.c",
        b"",
    )
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=120) as client:
        for method, path in (
            ("POST", "/login"),
            ("POST", "/auth/logout"),
            ("GET", "/auth/home/x/callback"),
            ("GET", "/v1/me"),
        ):
            for name in names:
                for value in values:
                    options = {"headers": [(name.encode(), value)], "params": {"state": "\u00e9", "code": "\x00"}}
                    assert not (wrong := await _answered(client, method, path, options)), (method, path, options, wrong)
    assert "Traceback" not in log.read_text()


async def test_no_command_of_a_websocket_is_a_failure_of_the_gateway(
    embedded: Door, patient: tuple[Gateway, Path]
) -> None:
    gateway, log = patient
    key, rng = embedded.key(embedded.tenant(), "mallory"), random.Random(SEED)
    subscribe = {"id": 1, "method": "subscription.subscribe", "params": BODIES["/threads/{thread_id}/stream/events"]}
    respond = {"id": 1, "method": "input.respond", "params": {"interrupt_id": "i", "response": 1, "responses": []}}
    address = f"{gateway.url.replace('http', 'ws')}/lg/threads/hostile/stream/events"
    async with websockets.connect(address, additional_headers={"x-api-key": key}) as socket:
        for _ in range(TRIES * 8):
            sent = _text(_hostile(rng, rng.choice([COMMAND, subscribe, respond])))
            await socket.send(sent)
            async with asyncio.timeout(120):
                while (answer := json.loads(await socket.recv())).get("type") not in ("success", "error"):
                    pass
            assert "failed to process" not in answer.get("message", ""), (sent[:500], answer)
    assert "Traceback" not in log.read_text()
