"""Whatever is stored, a list is an answer of a bounded size that is made in bounded memory, and others are answered meanwhile.

Each route that lists something is asked twenty times at once, of a user who has filled it. Every route of `/v1` and `/lg` is
here, either as a list, or among those that answer with one thing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from door import Door, Gateway

from cauce.settings import load_settings
from connectors.gateway.answer_bytes import ANSWER_BYTES
from connectors.gateway.protocols.lg.application import ROUTES
from connectors.gateway.protocols.v1.routes import document
from schemas import AcceptedRun, AuditEvent, Message, PendingCall, StoredMessage, StoredRun, ThreadHead, ToolCall
from state import AssistantRow, AuditRow, Commit, Stores, open_stores

AT_ONCE = 20
MOST_GROWTH = 64 << 20
LARGEST_ANSWER = 6 << 20
"""A state of 4 MiB with what is around its messages, the largest that one of them may be."""
NOW = datetime.now(UTC)

LISTS: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/v1/threads"): {"params": {"limit": 500}},
    ("GET", "/v1/threads/{thread_id}/messages"): {"params": {"limit": 500}},
    ("GET", "/v1/threads/{thread_id}/runs"): {"params": {"limit": 500}},
    ("GET", "/v1/approvals"): {},
    ("GET", "/v1/agents"): {},
    ("GET", "/v1/audit"): {"params": {"limit": 500}},
    ("POST", "/lg/assistants/search"): {"json": {"limit": 1000}},
    ("POST", "/lg/assistants/count"): {"json": {}},
    ("POST", "/lg/assistants/{assistant_id}/versions"): {"json": {"limit": 1000}},
    ("POST", "/lg/threads/search"): {"json": {"limit": 1000}},
    ("POST", "/lg/threads/count"): {"json": {"values": {"a": "b"}}},
    ("GET", "/lg/threads/{thread_id}/runs"): {"params": {"limit": 1000}},
    ("GET", "/lg/threads/{thread_id}/state"): {},
    ("GET", "/lg/threads/{thread_id}/history"): {"params": {"limit": 1000}},
    ("POST", "/lg/threads/{thread_id}/history"): {"json": {"limit": 1000}},
    ("POST", "/lg/store/items/search"): {"json": {"limit": 1000, "query": "needle in " + "hay " * 500}},
    ("POST", "/lg/store/namespaces"): {"json": {"limit": 1000}},
}
ONE_THING = {
    *((method, "/v1/threads/{thread_id}") for method in ("GET", "PATCH", "DELETE")),
    *((method, "/lg/threads/{thread_id}") for method in ("GET", "PATCH", "DELETE")),
    *((method, "/lg/assistants/{assistant_id}") for method in ("GET", "PATCH", "DELETE")),
    *((method, "/lg/threads/{thread_id}/runs/{run_id}") for method in ("GET", "DELETE")),
    *((method, "/lg/threads/{thread_id}/state/{checkpoint_id}") for method in ("GET", "POST")),
    *((method, "/lg/store/items") for method in ("GET", "PUT", "DELETE")),
    *((method, "/v1/me") for method in ("GET", "PATCH")),
    ("PATCH", "/lg/threads/{thread_id}/state"),
    ("POST", "/lg/threads/{thread_id}/state"),
    ("GET", "/lg/ok"),
    ("GET", "/lg/info"),
}
"""Of one thread, run, assistant or item, or of none."""
NO_LIST = (
    "/stream",
    "/join",
    "/wait",
    "/cancel",
    "/crons",
    "/copy",
    "/prune",
    "/commands",
    "/events",
    "/batch",
    "/latest",
)
NO_LIST_EITHER = (
    "/schemas",
    "/graph",
    "/subgraphs",
    "/{namespace}",
    "/{run_id}",
    "/{agent_id}",
    "/{call_id}",
    "/{rest:path}",
)
STARTS = {"/v1/threads", "/v1/threads/{thread_id}/messages", "/v1/threads/{thread_id}/runs"}
STARTS |= {"/lg/assistants", "/lg/threads", "/lg/threads/{thread_id}/runs", "/lg/runs"}
"""Where a POST makes one thing."""


def routes() -> set[tuple[str, str]]:
    found = {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}
    found |= {(m, f"/lg{route.path}") for route in ROUTES for m in getattr(route, "methods", None) or () if m != "HEAD"}
    return found


def test_every_route_is_known_as_a_list_or_as_one_thing() -> None:
    left = routes() - LISTS.keys() - ONE_THING
    unknown = {
        (method, path)
        for method, path in left
        if not path.startswith("/v1/admin/")  # of administrators only
        and not path.endswith((*NO_LIST, *NO_LIST_EITHER))
        and not (method == "POST" and path in STARTS)
    }
    assert unknown == set(), "add it to LISTS, or to those that answer with one thing"
    assert LISTS.keys() <= routes()


@pytest.fixture(scope="module")
def filled(embedded: Door) -> Iterator[tuple[str, Gateway, dict[str, str]]]:
    """A user's key, a gateway of one's own, and the ids of what was filled."""
    tenant = embedded.tenant()
    key = embedded.key(tenant, "rita")
    ids = asyncio.run(_filled(load_settings(environment=dict(embedded.environment)).state_url, tenant, "rita"))
    with embedded.another() as gateway:
        yield key, gateway, ids


async def _filled(url: str, tenant: str, user: str) -> dict[str, str]:
    stores = open_stores(url)
    await stores.open()
    try:
        return await fill(stores, tenant, user)
    finally:
        await stores.close()


async def fill(stores: Stores, tenant: str, user: str) -> dict[str, str]:
    """About what a user may keep of each kind, with large entries."""
    head = ThreadHead(user_id=user, created_at=NOW, updated_at=NOW, next_message=41, next_event=500)
    messages = [_message(n, "x" * 190_000) for n in range(1, 41)]
    runs = [_run(n, {"m": "x" * 15_000}) for n in range(1, 201)]
    for n in range(5):
        part = {"messages": messages[8 * n : 8 * n + 8], "runs": runs[40 * n : 40 * n + 40]}
        await _commit(stores, tenant, "large", n, head, **part)
    for n in range(20):
        details = {"kwargs": {"input": "x" * 900_000}}
        accepted = AcceptedRun(run_id=f"r{n}", user_id=user, agent_id="default", at=NOW, details=details)
        await stores.journal.accept(tenant, "large", accepted)
    call = PendingCall(call=ToolCall(call_id="c1", name="x", arguments={"a": "x" * 100_000}), state="approval")
    for n in range(150):
        waits = n < 40
        line = head.model_copy(update={"metadata": {"m": "x" * 15_000}, "pending": (call,) if waits else ()})
        await _commit(stores, tenant, f"th{n}", 0, line, messages=[_message(1, "x" * (190_000 if n % 5 == 0 else 10))])
    for n in range(30):
        value = {"text": "hay " * 200_000, "n": n}
        await stores.items.put(tenant, user, ["a", f"n{n}", "x" * 190], f"k{n}", value)
    name = "00000000-0000-4000-8000-000000000000"
    for n in range(20):
        await stores.assistants.put(tenant, _assistant(name, n + 1), expected_version=n)
        await stores.assistants.put(tenant, _assistant(f"{name[:-2]}{n + 10}", 1), expected_version=0)
    event = AuditEvent(action="x", actor="user:x", user_id=user, at=NOW, details={"x": "x" * 300})
    await stores.audit.append(tenant, [AuditRow(f"e{n}", n, event) for n in range(1, 301)])
    return {"thread_id": "large", "assistant_id": name}


def _message(n: int, text: str) -> StoredMessage:
    return StoredMessage(seq=n, message=Message(message_id=f"m{n}", role="user", text=text, run_id="r1", at=NOW))


def _run(n: int, metadata: dict[str, str]) -> StoredRun:
    times = {"accepted_at": NOW, "ended_at": NOW + timedelta(seconds=n)}
    seq = {"first_event": 2 * n, "last_event": 2 * n + 1}
    return StoredRun(run_id=f"r{n}", input_id=f"r{n}", outcome="completed", metadata=metadata, **times, **seq)


def _assistant(name: str, version: int) -> AssistantRow:

    body = {"graph_id": "both", "name": "x", "description": None, "config": {}, "metadata": {}}
    body |= {"context": {"prompt": "x" * 200_000}, "created_at": NOW.isoformat(), "updated_at": NOW.isoformat()}
    return AssistantRow(name, version, json.dumps(body).encode())


async def _commit(stores: Stores, tenant: str, thread: str, n: int, head: ThreadHead, **rows: Any) -> None:
    commit = Commit(
        expected_version=n, input_id=f"i{n}", head=head, outputs=b"", **{k: tuple(v) for k, v in rows.items()}
    )
    await stores.journal.commit(tenant, thread, commit)


def _peak(gateway: Gateway) -> int:
    """The most bytes that the process has had in memory."""
    lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) << 10


@pytest.mark.parametrize("route", sorted(LISTS), ids=lambda route: " ".join(route))
async def test_list_is_bounded_however_much_there_is(
    filled: tuple[str, Gateway, dict[str, str]], embedded: Door, route: tuple[str, str]
) -> None:
    key, gateway, ids = filled
    method, path = route
    async with embedded.caller(key, gateway.url) as client:
        client.timeout = 900  # they wait for each other, and a busy machine is slow
        first = await client.request(method, path.format(**ids), **LISTS[route])
        assert first.status_code == 200, first.text[:500]
        assert len(first.content) < LARGEST_ANSWER
        if not path.endswith(("/state", "/history")):
            assert len(first.content) < 2 * ANSWER_BYTES
        before, answered = _peak(gateway), 0
        requests = [client.request(method, path.format(**ids), **LISTS[route]) for _ in range(AT_ONCE)]
        answers = asyncio.gather(*requests)
        while not answers.done():
            assert (await client.get("/lg/ok")).status_code == 200
            answered += 1
            await asyncio.wait([answers], timeout=0.02)
        assert {answer.status_code for answer in await answers} == {200}
        assert answered >= 2
        grown = _peak(gateway) - before
    assert grown < MOST_GROWTH, f"{grown / 2**20:.0f} MiB"
