"""`http.app` of a `langgraph.json`: routes of the application's own beside ours, behind the same door."""

from __future__ import annotations

import asyncio
import json
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import APIStatusError
from running_system import RunningSystem
from waiting import until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from cauce.running import find_gateway
from cauce.settings import load_settings
from deploy.cluster.process import free_port

GRAPH = """
    from typing import TypedDict
    from langgraph.graph import START, StateGraph

    class State(TypedDict, total=False):
        said: str

    graph = StateGraph(State).add_node("say", lambda state: {"said": "hello"}).add_edge(START, "say").compile()
"""

APP = """
    import asyncio
    import sys
    from contextlib import asynccontextmanager
    from pathlib import Path

    import prices
    from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, WebSocket
    from fastapi.responses import StreamingResponse

    diary = Path(__file__).with_name("diary")

    def note(words):
        with diary.open("a") as file:
            file.write(words + "\\n")

    @asynccontextmanager
    async def lifespan(app):
        note("begun")
        app.state.shop = "corner"
        yield {"till": 7}
        note("ended")

    app = FastAPI(lifespan=lifespan)

    @app.get("/hello")
    async def hello(request: Request):
        user = request.user
        return {"shop": request.app.state.shop, "till": request.state.till, "price": prices.PRICE, "user": user.identity,
                "scopes": request.auth.scopes, "named": user["identity"], "url": str(request.url_for("hello").path)}

    @app.post("/echo/{name}")
    async def echo(name: str, request: Request):
        return {name: len(await request.body())}

    @app.get("/auth/me")
    @app.options("/auth/me")
    async def me(request: Request):
        return request.user.identity

    @app.get("/who")
    async def who(request: Request):
        return request.user.display_name if request.user.is_authenticated else "nobody"

    @app.get("/breaks/{how}")
    async def breaks(how: str):
        if how == "exit":
            sys.exit(3)
        if how == "cancel":
            raise asyncio.CancelledError
        if how == "refuses":
            raise HTTPException(418, "a teapot")
        raise ValueError("a secret")

    @app.get("/v1/chat/completions")
    async def completions():
        return "of the application"

    @app.get("/counts")
    async def counts():
        async def numbers():
            for number in range(3):
                yield f"{number}\\n"
        return StreamingResponse(numbers())

    @app.websocket("/socket")
    async def socket(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text(websocket.user.identity)
"""

GUARD = """
    from starlette.middleware.cors import CORSMiddleware

    app.add_middleware(CORSMiddleware, allow_origins=["https://page.example"], allow_methods=["*"],
                       allow_headers=["x-api-key"], expose_headers=["x-shop"])

    @app.get("/left")
    async def left(tasks: BackgroundTasks):
        def work():
            raise ValueError("what was left to do")
        tasks.add_task(work)
        return "answered"

    @app.middleware("http")
    async def guard(request: Request, call_next):
        if request.headers.get("x-shop") == "closed":
            return StreamingResponse(iter(["closed"]), 503)
        response = await call_next(request)
        response.headers["x-shop"] = getattr(request.scope.get("cauce.principal"), "user_id", "nobody yet")
        return response
"""


class Shop:
    """A system that serves an application with routes of its own."""

    def __init__(self, system: RunningSystem, folder: Path, port: int) -> None:
        note = find_gateway(load_settings(environment=system.environment))
        assert note
        self.url, self.alone, self.folder = note.url, f"http://127.0.0.1:{port}", folder
        self.key = system.told("tenant", "key", "create", "home").strip()
        self.system = system

    def client(self, url: str | None = None, *, key: str | None = "") -> httpx.AsyncClient:
        """Somebody who signs in; nobody with None."""
        headers = {} if key is None else {"x-api-key": key or self.key}
        return httpx.AsyncClient(base_url=url or self.url, headers=headers, trust_env=False, verify=False, timeout=120)

    def langgraph(self, url: str | None = None) -> Any:
        """LangGraph's own client."""
        return get_client(url=url or f"{self.url}/lg", api_key=self.key)


def write(folder: Path, app: str, **http: Any) -> Path:
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "graph.py").write_text(textwrap.dedent(GRAPH))
    (folder / "shop" / "prices.py").write_text("PRICE = 5\n")
    (folder / "shop" / "routes.py").write_text(textwrap.dedent(app))
    file = folder / "langgraph.json"
    http = {"app": "./shop/routes.py:app", **http}
    file.write_text(json.dumps({"graphs": {"g": "./shop/graph.py:graph"}, "http": http}))
    return file


@contextmanager
def shop(folder: Path, app: str, **http: Any) -> Iterator[Shop]:
    file, port = write(folder / "application", app, **http), free_port()
    more = {"CAUCE_GATEWAY_LANGGRAPH_PORT": str(port)}
    system = RunningSystem(folder, CAUCE_GATEWAY_PORT="0", CAUCE_LANGGRAPH=str(file), **more)
    try:
        system.start()
        yield Shop(system, folder / "application" / "shop", port)
    finally:
        system.end()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("plain"), APP) as opened:
        yield opened


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    http = {"enable_custom_route_auth": False, "disable_threads": True, "disable_meta": True}
    with shop(tmp_path_factory.mktemp("opened"), APP + GUARD, **http) as found:
        yield found


async def test_routes_of_the_application_are_served_beside_ours_at_each_door(plain: Shop) -> None:
    told = {"shop": "corner", "till": 7, "price": 5, "user": "owner", "named": "owner"}
    told["scopes"] = ["approve", "read", "write"]  # type: ignore[assignment]
    for url, path in ((plain.url, "/hello"), (f"{plain.url}/lg", "/lg/hello"), (plain.alone, "/hello")):
        async with plain.client(url) as client:
            answer = await client.get("/hello")
            assert (answer.status_code, answer.json()) == (200, {**told, "url": path})
            assert (await client.post("/echo/large", content=b"x" * 3_000_000)).json() == {"large": 3_000_000}
            assert (await client.get("/counts")).text == "0\n1\n2\n"
            assert (await client.post("/hello")).status_code == 405
            assert (await client.get("/nowhere")).status_code == 404
    async with plain.client() as client:
        assert (await client.get("/v1/chat/completions")).json() == "of the application"
        assert (await client.get("/openapi.json")).json()["paths"].keys() >= {"/hello", "/who"}
        assert (await client.get("/v1/me")).status_code == 200
        assert (await client.get("/v1/threads/", follow_redirects=True)).status_code == 200


async def test_ours_answer_beside_them_as_ever(plain: Shop) -> None:
    for url in (f"{plain.url}/lg", plain.alone):
        async with plain.langgraph(url) as client:
            assert (await client.runs.wait(None, "g", input={})) == {"said": "hello"}
            assert await client.threads.search() == []


async def test_nobody_comes_to_them_who_has_not_signed_in(plain: Shop) -> None:
    for url in (plain.url, f"{plain.url}/lg", plain.alone):
        for key in (None, "ck_wrong"):
            async with plain.client(url, key=key) as nobody:
                for path in ("/hello", "/who", "/auth/me", "/docs", "/nowhere"):
                    assert (await nobody.get(path)).status_code == 401, (url, path)
                assert (await nobody.options("/auth/me")).status_code == 401
    async with plain.client(key=None) as nobody:
        assert (await nobody.get("/ok")).status_code == 200
    async with plain.client() as client:
        assert (await client.get("/auth/me")).json() == "owner"
    with pytest.raises(InvalidStatus):
        await connect(f"{plain.url}/socket".replace("http", "ws"))
    async with connect(f"{plain.url}/socket".replace("http", "ws"), additional_headers={"x-api-key": plain.key}) as ws:
        assert await ws.recv() == "owner"


async def test_what_fails_in_them_costs_its_own_request(plain: Shop) -> None:
    async with plain.client() as client:
        for how in ("exit", "error", "cancel"):
            broken = await client.get(f"/breaks/{how}")
            assert broken.status_code == 500
            assert "secret" not in broken.text
        assert (await client.get("/breaks/refuses")).json() == {"detail": "a teapot"}
        answers = await asyncio.gather(*(client.get(f"/breaks/{how}") for how in ("exit", "error") * 5))
        assert {answer.status_code for answer in answers} == {500}
        assert (await client.get("/hello")).status_code == (await client.get("/v1/me")).status_code == 200


@pytest.mark.parametrize("found", ["plain", "opened"])
async def test_what_they_raise_is_in_the_log_once_whoever_answered_it(
    found: str, request: pytest.FixtureRequest
) -> None:
    there: Shop = request.getfixturevalue(found)
    log = there.system.data / "logs" / "gateway.log"
    before = len(log.read_text())
    async with there.client() as client:
        assert (await client.get("/breaks/error")).status_code == 500
    until(lambda: "GET /breaks/error failed" in log.read_text()[before:])
    assert log.read_text()[before:].count("ValueError: a secret") == 1


async def test_work_that_fails_after_the_answer_is_in_the_log(opened: Shop) -> None:
    log = opened.system.data / "logs" / "gateway.log"
    async with opened.client() as client:
        assert (await client.get("/left")).json() == "answered"
    until(lambda: "ValueError: what was left to do" in log.read_text())


async def test_pages_that_its_own_cors_middleware_allows_may_call_and_no_others(opened: Shop) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    for url, ours in ((opened.url, "/v1/me"), (f"{opened.url}/lg", "/ok"), (opened.alone, "/ok")):
        async with opened.client(url) as client:
            for path in (ours, "/who"):
                page = {"origin": "https://page.example"}
                preflight = await client.options(path, headers=page | asked)
                assert preflight.status_code == 200
                assert preflight.headers["access-control-allow-origin"] == "https://page.example"
                answer = await client.get(path, headers=page)
                assert answer.headers.get_list("access-control-allow-origin") == ["https://page.example"]
                assert "x-shop" in answer.headers["access-control-expose-headers"]
                other = {"origin": "https://else.example"}
                assert (await client.options(path, headers=other | asked)).status_code == 400
                assert "access-control-allow-origin" not in (await client.get(path, headers=other)).headers


async def test_opened_routes_need_no_credential_and_ours_do(opened: Shop) -> None:
    for url in (opened.url, f"{opened.url}/lg", opened.alone):
        for key in (None, "of_somebody_elses_webhook"):
            async with opened.client(url, key=key) as nobody:
                assert (await nobody.get("/who")).json() == "nobody"
        async with opened.client(url) as known:
            assert (await known.get("/who")).json() == "owner"
    async with opened.client(key=None) as nobody:
        assert (await nobody.get("/v1/me")).status_code == 401
        assert (await nobody.post("/lg/assistants/search", json={})).status_code == 401
    async with opened.client(opened.alone, key=None) as nobody:
        assert (await nobody.post("/assistants/search", json={})).status_code == 401


async def test_its_middleware_is_around_all_that_is_served(opened: Shop) -> None:
    for url, ours in ((opened.url, "/v1/me"), (f"{opened.url}/lg", "/ok"), (opened.alone, "/ok")):
        async with opened.client(url) as client:
            for path in (ours, "/who"):
                assert (await client.get(path)).headers["x-shop"] == "nobody yet"
                closed = await client.get(path, headers={"x-shop": "closed"})
                assert (closed.status_code, closed.text) == (503, "closed")
            assert (await client.get("/breaks/exit")).status_code == 500
    async with opened.langgraph() as client:
        parts = [part.event async for part in client.runs.stream(None, "g", input={}, stream_mode="updates")]
        assert parts == ["metadata", "updates", "end"]


async def test_disabled_parts_of_the_api_are_not_served(opened: Shop) -> None:
    for url in (f"{opened.url}/lg", opened.alone):
        async with opened.client(url) as client:
            assert (await client.get("/info")).status_code == 404
            assert (await client.post("/threads/search", json={})).status_code == 404
            assert (await client.get("/threads/x/state")).status_code == 404
        async with opened.langgraph(url) as sdk:
            assert await sdk.runs.wait(None, "g", input={}) == {"said": "hello"}
            with pytest.raises(APIStatusError):
                await sdk.threads.create()


async def test_middleware_after_the_sign_in_knows_who_calls_and_a_lifespan_runs_once(tmp_path: Path) -> None:
    with shop(tmp_path, APP + GUARD, middleware_order="auth_first") as found:
        async with found.client() as client:
            for path in ("/v1/me", "/lg/info", "/who", "/lg/who"):
                assert (await client.get(path)).headers["x-shop"] == "owner"
        async with found.client(found.alone, key=None) as nobody:
            refused = await nobody.get("/who")
            assert (refused.status_code, "x-shop" in refused.headers) == (401, False)
        assert (found.folder / "diary").read_text() == "begun\n"
        assert found.system.stop() == 0
    assert (found.folder / "diary").read_text() == "begun\nended\n"


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (
            "import nothing_of_this_name",
            r"http.app \(.*routes.py:app\) cannot be loaded: its import fails: ModuleNotFound",
        ),
        ("import sys; sys.exit(4)", "http.app .* cannot be loaded: its import fails: SystemExit: 4"),
        ("other = 1", "cannot be loaded: .* has no 'app'"),
        ("app = 5", "is a int. It must be an ASGI application"),
        (
            "from fastapi import FastAPI\napp = FastAPI()\n@app.post('/threads/{id}')\ndef own(): ...",
            r"the route /threads/\{id\} of http.app has a path of Cauce's own",
        ),
        (
            "from starlette.applications import Starlette\nfrom starlette.routing import Route\n"
            "app = Starlette(routes=[Route('/v1/me', lambda r: r)])",
            "the route /v1/me of http.app has a path of Cauce's own",
        ),
        (
            "from starlette.applications import Starlette\nfrom contextlib import asynccontextmanager\n"
            "@asynccontextmanager\nasync def lifespan(app):\n    raise OSError('no database')\n    yield\n"
            "app = Starlette(lifespan=lifespan)",
            "the lifespan of http.app does not begin: OSError: no database",
        ),
    ],
)
def test_application_that_cannot_be_served_is_refused_at_start(tmp_path: Path, app: str, words: str) -> None:
    file = write(tmp_path / "application", app)
    system = RunningSystem(tmp_path, CAUCE_GATEWAY_PORT="0")
    told = " ".join(system.told("up", "--langgraph", str(file), code=2).split())
    assert re.search(words, told), told


RAW = """
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = (scope["path"] + " " + scope["root_path"]).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})
"""


async def test_any_asgi_application_gets_what_is_not_ours(tmp_path: Path) -> None:
    with shop(tmp_path, RAW) as found:
        async with found.client() as client:
            assert (await client.get("/")).text == "/ "
            assert (await client.get("/lg/mine")).text == "/lg/mine /lg"
            assert (await client.get("/lg/info")).json()["metadata"] == {"server": "cauce"}
        async with found.client(key=None) as nobody:
            assert (await nobody.get("/")).status_code == 401
