"""The emulators' web application: engine, worker, Gmail and Asana, and a page that shows their data."""

from __future__ import annotations

import asyncio
import hmac
import html
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from arcade_serve.fastapi import FastAPIWorker
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from connectors.emulators import asana, asana_tools, engine, gmail, gmail_tools
from connectors.emulators.emulated_data import Store
from connectors.emulators.faults import CutConnection
from schemas.common.clock import utc_now

EMULATOR_HEADER = "x-cauce-emulator"
COOKIE = "cauce_emulators"


def create_app(store: Store, arcade: engine.Engine, api_key: str) -> FastAPI:
    """The application. `arcade.base_url` must be set before the first request."""
    app = FastAPI(title="Cauce emulators", docs_url=None, redoc_url=None, openapi_url=None)
    worker = FastAPIWorker(app, secret=arcade.worker_secret)
    for function in gmail_tools.TOOLS:
        worker.register_tool(function, "Gmail")
    for function in asana_tools.TOOLS:
        worker.register_tool(function, "Asana")

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = await _refusal(request, store, arcade, api_key)
        response = refusal or await call_next(request)
        response.headers[EMULATOR_HEADER] = "1"
        return response

    @app.exception_handler(StarletteHTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        return _error(request, error.status_code, str(error.detail))

    @app.exception_handler(CutConnection)
    async def cut(request: Request, error: CutConnection) -> Response:
        request.scope["cauce.cut"]()  # closes the socket, see `CuttingProtocol`
        return Response(status_code=500)

    def now() -> datetime:
        return utc_now()

    app.include_router(engine.routes(arcade))
    app.include_router(gmail.routes(store, now))
    app.include_router(asana.routes(store, now))
    _control_routes(app, store, arcade)
    return app


async def _refusal(request: Request, store: Store, arcade: engine.Engine, api_key: str) -> Response | None:
    path = request.url.path
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if _is_of_another_page(request, arcade.base_url):
        return engine.problem(403, "forbidden", "another page or address may not call the emulators")
    if path == "/" or path.startswith("/_ctl/"):
        return _refused_inside(request, given, api_key)
    if path.startswith("/v1/") and path != "/v1/health":
        # arcadepy sends the bare key, the REST samples of the documentation send it with Bearer: both are accepted.
        return None if same(given, api_key) else engine.problem(401, "unauthorized", "invalid API key")
    if path.startswith(("/gmail/", "/api/1.0/")):
        if given not in arcade.connections.values():
            return _error(request, 401, "Invalid Credentials")
        if fault := await arcade.faults.before(path):
            return _error(request, fault.status, "an injected fault", fault.headers)
    return None


def _is_of_another_page(request: Request, base_url: str) -> bool:
    """Whether a browser sends it for a page of somebody else, or for a name that was made to lead here (DNS rebinding)."""
    ours = urlsplit(base_url)
    hosts = {ours.netloc, f"localhost:{ours.port}"}
    origin = request.headers.get("origin")
    return (
        (origin is not None and urlsplit(origin).netloc not in hosts)
        or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        or request.headers.get("host", "") not in hosts
    )


def _refused_inside(request: Request, given: str, api_key: str) -> Response | None:
    """The switches and the page want the key too: as the engine does, or for a browser once as `/?key=`, then as a cookie."""
    if same(request.query_params.get("key", ""), api_key):
        entered = RedirectResponse("/", 303)
        entered.set_cookie(COOKIE, api_key, httponly=True, samesite="strict")
        return entered
    if same(given, api_key) or same(request.cookies.get(COOKIE, ""), api_key):
        return None
    return engine.problem(401, "unauthorized", "the key is in arcade.key of the emulators' folder: open /?key=KEY")


def same(given: str, key: str) -> bool:
    """Whether it is the key; takes as long for every other."""
    return hmac.compare_digest(given.encode(), key.encode())


def _error(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error in the shape of the service that the path belongs to."""
    if request.url.path.startswith("/gmail/"):
        body: dict[str, Any] = {"error": {"code": status, "message": message, "errors": [{"message": message}]}}
    elif request.url.path.startswith("/api/1.0/"):
        body = {"errors": [{"message": message}]}
    else:
        body = {"name": "error", "message": message}
    return JSONResponse(body, status, headers=headers)


def _control_routes(app: FastAPI, store: Store, arcade: engine.Engine) -> None:
    @app.post("/_ctl/fault")
    async def fault(request: Request) -> dict[str, bool]:
        arcade.faults.add(arcade.faults.parse(await request.json()))
        return {"ok": True}

    @app.post("/_ctl/reset")
    async def reset() -> dict[str, bool]:
        arcade.faults.clear()
        while arcade.in_hand:  # its caller may be gone: it must not consume the next fault
            await asyncio.sleep(0.01)
        return {"ok": True}

    @app.get("/_ctl/effects")
    async def effects() -> dict[str, Any]:
        return {"effects": store.data["effects"], "executions": arcade.executions}

    @app.get("/", response_class=HTMLResponse)
    async def look_inside() -> str:
        return _page(store, arcade)


def _page(store: Store, arcade: engine.Engine) -> str:
    def table(title: str, rows: list[list[object]]) -> str:
        cells = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
        return f"<h2>{title} ({len(rows)})</h2><table>{cells}</table>"

    mails: list[list[object]] = [
        [m["at"][:16].replace("T", " "), m["from"], m["to"], m["subject"], " ".join(m["labels"])]
        for m in reversed(store.mails)
    ]
    tasks: list[list[object]] = [
        ["done" if t["completed"] else "open", t["due_on"] or "", t["name"]] for t in store.tasks
    ]
    effects: list[list[object]] = [[e["kind"], e] for e in reversed(store.data["effects"])]
    calls: list[list[object]] = [[c["tool"], c["user_id"], c["success"]] for c in reversed(arcade.executions)]
    style = "body{font:14px sans-serif;margin:2em}td{border-bottom:1px solid #ddd;padding:.25em .75em .25em 0}"
    return (
        f"<!doctype html><title>Cauce emulators</title><style>{style}</style><h1>Emulated Gmail and Asana</h1>"
        "<p>Nothing here leaves this machine.</p>"
        + table("Mail", mails)
        + table("Tasks", tasks)
        + table("Accepted side effects", effects)
        + table("Tool calls", calls)
    )
