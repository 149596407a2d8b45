"""What a credential may do is what the table of `core/permissions.py` says: on every route, and for whatever a body asks there.

Routes of an application of one's own are not in it: they decide by the scopes that `request.user.permissions` has.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import httpx
import pytest
from door import Door
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.routing import BaseRoute, Mount, WebSocketRoute
from websockets.asyncio.client import connect

from connectors.gateway.app import OPEN_PATHS, make_app, make_core
from connectors.gateway.gateway_options import GatewayOptions
from connectors.gateway.permitted_routes import Permitted, PermittedRoute
from connectors.graphs import Graphs
from core.permissions import KINDS, TABLE, Operation
from core.principal import ALL_SCOPES, SCOPES
from schemas import RunKind
from state import open_stores

Scopes = tuple[str, ...]
SOME: tuple[Scopes, ...] = (*((one,) for one in ALL_SCOPES), ("read", "write"), ("read", "approve"), ("read", "admin"))
"""Each single scope, and what a chat client, a person who only decides, and one who only administers may have."""


def _routes(routes: Any, below: str = "") -> Iterator[tuple[str, BaseRoute]]:
    for route in routes:
        if isinstance(route, Mount):
            yield from _routes(route.routes, below + route.path)
        elif router := getattr(route, "original_router", None):  # FastAPI's, of an included router
            yield from _routes(router.routes, below + route.include_context.prefix)
        else:
            yield below + route.path, route


def _operations(route: BaseRoute, method: str) -> tuple[Operation, ...] | None:
    """What the route says that it is; None for one that says nothing."""
    if isinstance(route, PermittedRoute):
        return route.operations[method]
    asked = [d.dependency for d in route.dependencies] if isinstance(route, APIRoute) else []
    return next((one.operations for one in asked if isinstance(one, Permitted)), None)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, BaseRoute]]:
    """Method, path and route of everything that the gateway serves."""
    stores = open_stores(f"sqlite://{tmp_path_factory.mktemp('walk') / 'state'}")
    core = make_core("127.0.0.1:1", stores, GatewayOptions(), CollectorRegistry(), Graphs({}))
    return [
        (method, path, route)
        for path, route in _routes(make_app(core).routes)
        if not isinstance(route, WebSocketRoute)
        for method in sorted(getattr(route, "methods", None) or ())
        if method != "HEAD"
    ]


def test_every_route_says_which_operations_it_is(walk: list[tuple[str, str, BaseRoute]]) -> None:
    silent = {path for method, path, route in walk if _operations(route, method) is None}
    anybodys = (*OPEN_PATHS, "/v1/docs", "/v1/openapi.json")
    assert silent == {path for path in silent if path.startswith(anybodys)}
    assert len(walk) > 70


def may(scopes: Scopes, operation: Operation, kind: RunKind) -> bool:
    return set(getattr(TABLE[operation], kind)) <= set(scopes)


@pytest.mark.parametrize("scopes", SOME, ids="+".join)
async def test_every_route_is_refused_to_whoever_may_do_none_of_its_operations(
    embedded: Door, walk: list[tuple[str, str, BaseRoute]], scopes: Scopes
) -> None:
    options = [part for scope in scopes for part in ("--scope", scope)]
    async with embedded.caller(embedded.key("home", "walks-" + "-".join(scopes), *options)) as client:
        for method, path, route in walk:
            if (operations := _operations(route, method)) is None:
                continue
            url = path.replace("{rest:path}", "x")
            for name in (
                "thread_id",
                "run_id",
                "call_id",
                "agent_id",
                "assistant_id",
                "checkpoint_id",
                "namespace",
                "user_id",
                "name",
            ):
                url = url.replace(f"{{{name}}}", "x")
            allowed = any(may(scopes, one, kind) for one, kind in product(operations, KINDS))
            if allowed and "/v1/admin/" in path and method != "GET":
                continue  # it would do what it says, such as end the tenant
            answered = await client.request(method, url, json={} if method in ("POST", "PATCH", "PUT") else None)
            refused = answered.status_code == 403 and answered.json()["code"] == "scope_missing"
            assert refused != allowed, f"{method} {path} with {scopes}: {answered.status_code} {answered.text}"
            assert answered.status_code < 500, f"{method} {path}: {answered.text}"


class Standing:
    """A thread of each kind that waits for its user, and requests on it."""

    def __init__(self, agent: str, call_id: str, graph: str, interrupts: list[str], checkpoint: str) -> None:
        self.thread: dict[RunKind, str] = {"agent": agent, "graph": graph}
        self.call_id, self.interrupts, self.checkpoint = call_id, interrupts, checkpoint

    @classmethod
    async def made(cls, client: httpx.AsyncClient) -> Standing:
        agent = (await client.post("/v1/threads", json={})).json()["thread_id"]
        said = {"text": "create a task to call Ana tomorrow"}
        paused = (await client.post(f"/v1/threads/{agent}/runs/wait", json=said)).json()
        graph = str(uuid.uuid4())
        body = {"assistant_id": "both", "input": {"answers": []}, "if_not_exists": "create"}
        waits = (await client.post(f"/lg/threads/{graph}/runs/wait", json=body)).json()
        state = (await client.get(f"/lg/threads/{graph}/state")).json()
        ids = [asked["id"] for asked in waits["__interrupt__"]]
        return cls(agent, paused["approvals"][0]["call_id"], graph, ids, state["checkpoint"]["checkpoint_id"])

    async def seen(self, client: httpx.AsyncClient) -> list[Any]:
        """Everything that must not change."""
        paths = [f"/lg/threads/{thread}/{part}" for thread in self.thread.values() for part in ("state", "runs")]
        return [(await client.get(path)).json() for path in paths]


Sent = tuple[str, Any]
Case = tuple[RunKind, tuple[Operation, ...], Callable[[Standing], Sent]]
RESUME = {"resume": {"decisions": [{"type": "reject"}]}}


def _run(kind: RunKind, how: str = "/runs/wait", **body: Any) -> Callable[[Standing], Sent]:
    assistant = {"assistant_id": "agent" if kind == "agent" else "both"}
    return lambda s: (f"/lg/threads/{s.thread[kind]}{how}", {**assistant, **body})


def _command(method: str, **params: Any) -> Callable[[Standing], Sent]:
    body = {"id": 1, "method": method, "params": {"assistant_id": "both", **params}}
    return lambda s: (f"/lg/threads/{s.thread['graph']}/commands", body)


def _agui(kind: RunKind, answer: Callable[[Standing], dict[str, Any]]) -> Callable[[Standing], Sent]:
    where = "/agui" if kind == "agent" else "/agui/both"
    return lambda s: (where, {"threadId": s.thread[kind], "runId": str(uuid.uuid4()), "resume": [answer(s)]})


_ANSWER, _FORK, _CHANGE = (Operation.ANSWER,), (Operation.RUN, Operation.FORK), (Operation.RUN, Operation.CHANGE_STATE)
CASES: dict[str, Case] = {
    "v1: a decision": (
        "agent",
        _ANSWER,
        lambda s: (f"/v1/threads/{s.thread['agent']}/approvals/{s.call_id}", {"decision": "reject"}),
    ),
    "v1: a message": (
        "agent",
        (Operation.RUN,),
        lambda s: (f"/v1/threads/{s.thread['agent']}/messages", {"text": "hello"}),
    ),
    "lg: a copy": (
        "agent",
        (Operation.CHANGE_THREAD,),
        lambda s: (f"/lg/threads/{s.thread['agent']}/copy", {}),
    ),
    "lg: a resume of an agent": ("agent", _ANSWER, _run("agent", command=RESUME)),
    "lg: a resume in the background": ("agent", _ANSWER, _run("agent", "/runs", command=RESUME)),
    "lg: messages by hand": (
        "agent",
        (Operation.CHANGE_STATE,),
        lambda s: (
            f"/lg/threads/{s.thread['agent']}/state",
            {"values": {"messages": [{"role": "user", "content": "x"}]}},
        ),
    ),
    "agui: a decision": (
        "agent",
        _ANSWER,
        _agui("agent", lambda s: {"interruptId": s.call_id, "payload": {"decision": "reject"}}),
    ),
    "lg: a resume of a graph": (
        "graph",
        _ANSWER,
        lambda s: _run("graph", command={"resume": dict.fromkeys(s.interrupts, "yes")})(s),
    ),
    "lg: a stream that resumes a graph": (
        "graph",
        _ANSWER,
        lambda s: _run("graph", "/runs/stream", command={"resume": dict.fromkeys(s.interrupts, "yes")})(s),
    ),
    "lg: a run without an input": ("graph", (Operation.CONTINUE,), _run("graph", input=None)),
    "lg: a run at a checkpoint": (
        "graph",
        _FORK,
        lambda s: _run("graph", checkpoint_id=s.checkpoint, multitask_strategy="interrupt")(s),
    ),
    "lg: an update": ("graph", _CHANGE, _run("graph", "/runs", command={"update": {"answers": ["forged"]}})),
    "lg: a goto": ("graph", _CHANGE, _run("graph", "/runs", command={"goto": "left"})),
    "lg: a goto later": ("graph", _CHANGE, _run("graph", "/runs", command={"goto": "left"}, after_seconds=600)),
    "lg: a state by hand": (
        "graph",
        (Operation.CHANGE_STATE,),
        lambda s: (f"/lg/threads/{s.thread['graph']}/state", {"values": {"answers": ["forged"]}, "as_node": "left"}),
    ),
    "v2: an answer": (
        "graph",
        _ANSWER,
        lambda s: _command(
            "input.respond", responses=[{"interrupt_id": one, "response": "yes"} for one in s.interrupts]
        )(s),
    ),
    "v2: an input that is an answer": (
        "graph",
        _ANSWER,
        lambda s: _command("run.start", input=dict.fromkeys(s.interrupts, "yes"))(s),
    ),
    "agui: an answer to a graph": (
        "graph",
        _ANSWER,
        _agui("graph", lambda s: {"interruptId": s.interrupts[0], "payload": "yes"}),
    ),
    "stateless: an update": (
        "graph",
        _CHANGE,
        lambda s: ("/lg/runs/wait", {"assistant_id": "both", "command": {"update": {"answers": ["forged"]}}}),
    ),
    "batch: a goto": (
        "graph",
        _CHANGE,
        lambda s: ("/lg/runs/batch", [{"assistant_id": "both", "command": {"goto": "left"}}]),
    ),
    "lg: a thread with a state": (
        "graph",
        (Operation.CHANGE_THREAD, Operation.CHANGE_STATE),
        lambda s: (
            "/lg/threads",
            {
                "metadata": {"graph_id": "both"},
                "supersteps": [{"updates": [{"values": {"answers": ["forged"]}, "as_node": "left"}]}],
            },
        ),
    ),
}
"""For each kind of thread: what it is, and how it is asked for."""


def _needed(kind: RunKind, operations: tuple[Operation, ...]) -> Scopes:
    return tuple(sorted({scope for one in operations for scope in getattr(TABLE[one], kind)}))


def _refused(answered: httpx.Response) -> bool:
    if answered.status_code == 200 and answered.headers["content-type"] == "application/json":
        return isinstance(told := answered.json(), dict) and told.get("error") == "permission_denied"
    return answered.status_code == 403 and answered.json()["code"] == "scope_missing"


@pytest.fixture(scope="module")
def keys(embedded: Door) -> Callable[[Scopes], str]:
    """Keys of one user, by their scopes."""
    made: dict[Scopes, str] = {}

    def key(scopes: Scopes) -> str:
        if scopes not in made:
            options = [part for scope in scopes for part in ("--scope", scope)]
            made[scopes] = embedded.key("home", "eve", *options)
        return made[scopes]

    return key


async def test_what_a_body_asks_for_is_refused_without_all_its_scopes_and_changes_nothing(
    embedded: Door, keys: Callable[[Scopes], str]
) -> None:
    async with embedded.caller(keys(SCOPES)) as eve:
        standing = await Standing.made(eve)
        before = await standing.seen(eve)
        for name, (kind, operations, sent) in CASES.items():
            needed, (path, body) = _needed(kind, operations), sent(standing)
            lacking = [tuple(sorted({*ALL_SCOPES} - {one})) for one in needed]
            for scopes in [*lacking, *((one,) for one in ALL_SCOPES)]:
                async with embedded.caller(keys(scopes)) as caller:
                    answered = await caller.post(path, json=body)
                assert _refused(answered), f"{name} with {scopes}: {answered.status_code} {answered.text}"
        assert await standing.seen(eve) == before


@pytest.mark.parametrize("name", CASES)
async def test_what_a_body_asks_for_is_done_with_its_scopes_alone(
    embedded: Door, keys: Callable[[Scopes], str], name: str
) -> None:
    kind, operations, sent = CASES[name]
    async with embedded.caller(keys(SCOPES)) as eve, embedded.caller(keys(_needed(kind, operations))) as caller:
        path, body = sent(await Standing.made(eve))
        answered = await caller.post(path, json=body)
        assert not _refused(answered), answered.text
        # Some of it cannot be done while the thread waits.
        refused_by_the_thread = answered.status_code == 409 and answered.json()["code"] == "refused"
        assert answered.status_code < 300 or refused_by_the_thread, f"{answered.status_code} {answered.text}"


async def test_a_command_over_a_websocket_needs_what_it_needs_over_http(
    embedded: Door, keys: Callable[[Scopes], str]
) -> None:
    async with embedded.caller(keys(SCOPES)) as eve:
        standing = await Standing.made(eve)
    thread, url = standing.thread["graph"], embedded.url.replace("http", "ws")
    answers = [{"interrupt_id": one, "response": "yes"} for one in standing.interrupts]
    command = {"id": 1, "method": "input.respond", "params": {"responses": answers}}
    for scopes, expected in ((("read", "write"), "permission_denied"), (("approve", "read"), None)):
        headers = {"x-api-key": keys(scopes)}
        async with connect(
            f"{url}/lg/threads/{thread}/stream/events", additional_headers=headers, proxy=None
        ) as opened:
            await opened.send(json.dumps(command))
            assert json.loads(await opened.recv()).get("error") == expected
    async with connect(
        f"{url}/lg/threads/{thread}/stream/events",
        additional_headers={"x-api-key": keys(("write",))},
        proxy=None,
    ) as opened:
        assert json.loads(await opened.recv())["error"] == "scope_missing"


async def test_a_paused_graph_does_not_go_on_past_a_stop_for_whoever_may_not_answer(
    embedded: Door, keys: Callable[[Scopes], str]
) -> None:
    thread = str(uuid.uuid4())
    async with embedded.caller(keys(("read", "write"))) as writer:
        stops = {"assistant_id": "both", "input": {"answers": []}, "if_not_exists": "create", "interrupt_before": "*"}
        await writer.post(f"/lg/threads/{thread}/runs/wait", json=stops)
        refused = await writer.post(f"/lg/threads/{thread}/runs/wait", json={"assistant_id": "both"})
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


def test_admin_is_in_no_key_that_did_not_ask_for_it(embedded: Door) -> None:
    assert "admin" not in SCOPES
    key = embedded.key("home", "chief", "--scope", "admin")
    told = httpx.get(f"{embedded.url}/v1/me", headers={"x-api-key": key}, trust_env=False).json()
    assert told["scopes"] == ["admin"]
