"""The lifespan of an application that is served beside ours: begun before anything is served, ended after.

It lives in a task of its own, as under any ASGI server. A task group in it, whose task fails, cancels the task that it was
entered in; that must not be the one that serves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.applications import Starlette

from connectors.foreign import contained, no_exits
from connectors.gateway.auth.middleware import App
from schemas import SettingsError, storable_error

log = logging.getLogger("cauce.gateway")

SAID_SECONDS = 10.0
"""Between two lines of the log about a lifespan that has not begun yet. It may take its time: it may load a model."""
END_SECONDS = 10.0
"""How long a lifespan may take to end. Kubernetes gives a pod 30 s by default, of which open streams take 3."""


@asynccontextmanager
async def lifespan_of(app: App) -> AsyncIterator[Mapping[str, Any]]:
    """Begins it and gives the state that its requests get; at the end of the block it ends, or is left after `END_SECONDS`.

    Raises `SettingsError` where it does not begin. What it raises later is logged, and ends nothing else.
    """
    begun: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()
    life = asyncio.create_task(contained(_live(app, begun, over)), name="lifespan of http.app")
    try:
        await _until_begun(begun, life)
        life.add_done_callback(lambda _: _say_how_it_ended(life, early=not over.is_set()))
        yield begun.result()
    finally:
        over.set()
        # Also where this is cancelled: then it is cancelled, too, and not waited for.
        try:
            done, _ = await asyncio.wait({life}, timeout=END_SECONDS)
        finally:
            life.cancel()
        if not done:
            log.error("the lifespan of http.app has not ended after %g s, and is left behind", END_SECONDS)


async def _until_begun(begun: asyncio.Future[Mapping[str, Any]], life: asyncio.Task[None]) -> None:
    waited = 0.0
    while not (begun.done() or life.done()):
        either: set[asyncio.Future[Any]] = {begun, life}
        await asyncio.wait(either, timeout=SAID_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not (begun.done() or life.done()):
            waited += SAID_SECONDS
            log.warning("the lifespan of http.app has not started after %g s; until it has, nothing is served", waited)
    if begun.done():
        return
    error = life.exception() or RuntimeError("it ended immediately")
    log.error("the lifespan of http.app failed", exc_info=error)
    raise SettingsError(f"the lifespan of http.app does not begin: {storable_error(error)}") from error


async def _live(app: App, begun: asyncio.Future[Mapping[str, Any]], over: asyncio.Event) -> None:
    if isinstance(app, Starlette) and app.middleware_stack is None:
        # As in Starlette: middleware that a lifespan adds comes too late and is an error, not a wrapper of half of the routes.
        app.middleware_stack = app.build_middleware_stack()
    with no_exits():
        context: AbstractAsyncContextManager[Any] = (
            app.router.lifespan_context(app) if isinstance(app, Starlette) else _asgi_lifespan(app)
        )
        async with context as state:
            begun.set_result(dict(state or {}) if isinstance(app, Starlette) else state)
            await over.wait()


def _say_how_it_ended(life: asyncio.Task[None], *, early: bool) -> None:
    error = None if life.cancelled() else life.exception()
    if error and early:
        log.error(
            "the lifespan of http.app failed while its application is served; the gateway keeps serving it",
            exc_info=error,
        )
    elif error:
        log.error("the lifespan of http.app did not end well", exc_info=error)


@asynccontextmanager
async def _asgi_lifespan(app: App) -> AsyncIterator[Mapping[str, Any]]:
    """The lifespan of any ASGI application, which may know none."""
    from uvicorn import Config
    from uvicorn.lifespan.on import LifespanOn

    lifespan = LifespanOn(Config(app, lifespan="auto", log_config=None))
    await lifespan.startup()
    if lifespan.should_exit:
        raise RuntimeError("the application reported a failure; the gateway's log has its message")
    try:
        yield lifespan.state
    finally:
        await lifespan.shutdown()
