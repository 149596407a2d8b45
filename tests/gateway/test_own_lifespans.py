"""The lifespan of an application of the user's own: it cannot end the gateway, nor keep it from beginning or ending unsaid."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from test_own_routes import shop
from waiting import until

from connectors.gateway import own_lifespan
from connectors.gateway.own_routes import OwnApp
from schemas import SettingsError

BACKGROUND = """
    import asyncio
    from contextlib import asynccontextmanager
    from fastapi import FastAPI

    @asynccontextmanager
    async def lifespan(app):
        app.state.fail = asyncio.Event()

        async def background():
            await app.state.fail.wait()
            raise OSError("the queue is gone")

        async with asyncio.TaskGroup() as group:
            group.create_task(background())
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/fail")
    async def fail():
        app.state.fail.set()
        return "told"
"""


async def test_a_background_task_that_fails_in_a_lifespan_does_not_end_the_gateway(tmp_path: Path) -> None:
    log = tmp_path / "var" / "logs" / "gateway.log"
    with shop(tmp_path, BACKGROUND) as found:
        async with found.client() as client:
            assert (await client.get("/fail")).json() == "told"
            until(lambda: "failed while its application is served" in log.read_text())
            assert "OSError: the queue is gone" in log.read_text()
            assert (await client.get("/v1/me")).status_code == 200
            assert (await client.get("/fail")).json() == "told"
        async with found.langgraph() as client:
            assert await client.runs.wait(None, "g", input={}) == {"said": "hello"}
        assert "restarting it" not in found.system.output.read_text()
        assert found.system.stop() == 0


@pytest.mark.parametrize("kind", ["starlette", "asgi"])
async def test_a_lifespan_that_does_not_begin_is_said_and_can_be_given_up(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_lifespan, "SAID_SECONDS", 0.01)
    left = asyncio.Event()

    @asynccontextmanager
    async def hangs(app: Any) -> AsyncIterator[None]:
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        yield

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.Event().wait()

    async def begin() -> None:
        async with OwnApp(Starlette(lifespan=hangs) if kind == "starlette" else raw).running():
            raise AssertionError("it has begun")

    waiting = asyncio.create_task(begin())
    async with asyncio.timeout(120):
        while "the lifespan of http.app has not started after 0.02 s" not in caplog.text:
            await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if kind == "starlette":
        await asyncio.wait_for(left.wait(), 120)


@pytest.mark.parametrize("way", ["waits", "refuses", "raises", "exits"])
async def test_a_lifespan_that_does_not_end_well_is_left(
    way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(own_lifespan, "END_SECONDS", 0.1)
    at_last = asyncio.Event()

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        yield
        if way == "raises":
            raise OSError("no disk")
        if way == "exits":
            sys.exit(3)
        while not at_last.is_set():
            try:
                await at_last.wait()
            except asyncio.CancelledError:
                if way == "waits":
                    raise

    async with asyncio.timeout(120), OwnApp(Starlette(lifespan=lifespan)).running():
        pass
    said = {"raises": "OSError: no disk", "exits": "SystemExit: 3"}.get(way, "has not ended after 0.1 s")
    assert said in caplog.text
    at_last.set()


async def test_middleware_that_a_lifespan_adds_is_refused_rather_than_around_half_of_what_is_served() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.add_middleware(lambda app: app)
        yield

    with pytest.raises(SettingsError, match="Cannot add middleware after an application has started"):
        async with OwnApp(Starlette(lifespan=lifespan)).running():
            pass


@pytest.mark.parametrize(
    "left",
    [
        "async def stays():\n    while True:\n        try:\n            await asyncio.sleep(3600)\n"
        "        except asyncio.CancelledError:\n            pass\n",
        "def sleeps():\n    time.sleep(3600)\nasync def stays():\n    await asyncio.to_thread(sleeps)\n",
    ],
)
def test_a_process_ends_without_what_refuses_to_end(tmp_path: Path, left: str) -> None:
    code = f"""
import asyncio, time
from cauce import event_loop
event_loop.END_SECONDS = 0.2
{left}
async def main():
    global task
    task = asyncio.create_task(stays())
    await asyncio.sleep(0.05)
event_loop.run(main())
event_loop.end_process()
"""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "exiting although" in done.stderr


def test_gateway_that_waits_for_a_lifespan_to_begin_ends_when_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(textwrap.dedent(WAITING))
    (tmp_path / "langgraph.json").write_text('{"graphs": {"g": "./app.py:g"}, "http": {"app": "./app.py:app"}}')
    environment = {**os.environ, "CAUCE_KAFKA": "127.0.0.1:1"}
    options = ["--data", str(tmp_path / "var"), "--langgraph", str(tmp_path / "langgraph.json"), "--port", "0"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        gateway = subprocess.Popen(
            [sys.executable, "-m", "cauce", "gateway", *options], env=environment, stdout=output, stderr=output
        )
    try:
        until(lambda: "it waits" in log.read_text())
        gateway.terminate()
        assert gateway.wait(60) == 0, log.read_text()
    finally:
        gateway.kill()
        gateway.wait()


WAITING = """
    import asyncio
    from contextlib import asynccontextmanager
    from fastapi import FastAPI

    @asynccontextmanager
    async def lifespan(app):
        print("it waits", flush=True)
        await asyncio.Event().wait()
        yield

    app = FastAPI(lifespan=lifespan)
"""
