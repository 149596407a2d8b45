"""`cauce gateway`: one process that serves HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cauce.hosting import hosting_of
from cauce.running import is_alive, write_private
from cauce.settings import Settings
from schemas import SettingsError
from state import Stores, open_stores

if TYPE_CHECKING:
    import uvicorn

    from cauce.langgraph_http import HttpPart
    from connectors.gateway.gateway_core import GatewayCore
    from connectors.gateway.own_routes import OwnApp
    from connectors.graphs import Graphs
    from streams.health import Health

log = logging.getLogger("cauce.gateway")

DEFAULT_PORT = 8123
"""Where LangGraph's own servers are found by their clients."""
UNREAD_MS = 15_000
"""How long what was sent may wait unread or unacknowledged, before the connection is broken off (RFC 5482)."""
OPEN_FILES = 65_536
STOP_SECONDS = 3
"""Open streams are closed then; their clients come back, here or elsewhere."""


@dataclass(frozen=True, slots=True)
class GatewayNote:
    """What the gateway of this machine says about itself. `login` begins a session of the owner, once."""

    pid: int
    url: str
    health: str
    login: str | None = None


def gateway_file(data: Path) -> Path:
    """Where the gateway of the embedded system puts its address."""
    return data / "run" / "gateway.json"


def find_gateway(settings: Settings) -> GatewayNote | None:
    """The gateway that runs from the data folder."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        note = GatewayNote(**json.loads(gateway_file(settings.data).read_text()))
        return note if is_alive(note.pid) else None
    return None


async def run_gateway(
    settings: Settings, *, embedded: bool, on_ready: Callable[[str], None] = lambda url: None
) -> None:
    """Serves until SIGTERM or SIGINT. `settings` name Kafka; `embedded` leaves a note with a login link for the owner.

    Raises `SettingsError` when an address cannot be listened on, or the store lacks migrations.
    """
    from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

    from connectors.gateway.app import make_app, make_core
    from connectors.gateway.auth import Sessions
    from connectors.gateway.limits import Rates
    from connectors.gateway.options import GatewayOptions
    from streams.health import HealthServer

    if settings.kafka is None:
        raise SettingsError("no Kafka is known: set CAUCE_KAFKA=host:port, or run everything here with: cauce up")
    allow_open_files()
    main = _listen(settings.gateway.host, settings.gateway.port)
    stores = open_stores(settings.state_url)
    await stores.open()
    await _check(stores, settings)
    registry = CollectorRegistry()
    for collector in (GCCollector, PlatformCollector, ProcessCollector):
        collector(registry=registry)
    hosting = hosting_of(settings)
    graphs, http = hosting.graphs(), hosting.http
    own = await _own_app(graphs, http) if http.app else None
    minutes, strategy = hosting.thread_ttl or (None, "delete")
    options = GatewayOptions(thread_minutes=minutes, thread_strategy=strategy)
    core = make_core(settings.kafka, stores, options, registry, graphs)
    health = HealthServer(_health(core, stores), registry, port=settings.gateway.health_port)
    await health.start()
    cors = asdict(http.cors)
    if origins := [o.strip() for o in (settings.gateway.origins or "").split(",") if o.strip()]:
        cors |= {"allow_origins": origins, "allow_origin_regex": None}
    rates = Rates(settings.rate.user, settings.rate.tenant, settings.rate.runs, settings.redis or "memory://")
    app = make_app(core, rates=rates, cors=cors, own=own, without=http.without)
    servers = [(_server(app), main)]
    if settings.gateway.langgraph_port is not None:
        second = app.state.langgraph_alone()
        servers.append(
            (_server(second, lifespan="off"), _listen(settings.gateway.host, settings.gateway.langgraph_port))
        )
    url = _url(main)
    link = None
    if embedded:
        secret = await Sessions(stores.credentials).link(settings.tenant, settings.user)
        link = f"{url}/login?link={secret}"
    try:
        async with own.running() if own else contextlib.nullcontext():
            _stop_at_signals([server for server, _ in servers])
            serving = [asyncio.create_task(server.serve(sockets=[sock])) for server, sock in servers]
            await _until_ready(core, serving)
            if embedded:
                note = GatewayNote(os.getpid(), url, health.address, link)
                write_private(gateway_file(settings.data), json.dumps(asdict(note)))
            log.info("the gateway serves %s, health at %s", url, health.address)
            on_ready(url)
            await asyncio.gather(*serving)
    finally:
        await health.stop()
        if embedded:
            gateway_file(settings.data).unlink(missing_ok=True)
        await stores.close()


def _stop_at_signals(servers: list[uvicorn.Server]) -> None:
    """Uvicorn hears signals while it serves, and raises the one that ended it once more afterwards: what is left to end here must
    not be ended by that."""

    def stop(*_: object) -> None:
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


async def _own_app(graphs: Graphs, http: HttpPart) -> OwnApp:
    """Routes of the application's own. Raises `SettingsError` where they cannot be loaded: their middleware may protect what is
    ours."""
    from connectors.gateway.own_routes import OwnApp

    assert http.app
    found = await graphs.imported("http.app", http.app)
    if not callable(found) or inspect.isclass(found):
        raise SettingsError(
            f"http.app ({http.app}) is a {type(found).__name__}. It has to be an ASGI application, such as one of FastAPI or "
            "Starlette"
        )
    open_to = "everybody" if http.opened else "those who sign in"
    log.info("routes of the application's own are served to %s: %s", open_to, http.app)
    return OwnApp(found, opened=http.opened, auth_first=http.auth_first)


def allow_open_files() -> None:
    """Lets this process have as many open files as it may: systems begin with 1,024, and each stream takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _check(stores: Stores, settings: Settings) -> None:
    if settings.cassandra is None:
        await stores.migrate()  # a file on this machine: there is nobody to coordinate with
    elif missing := await stores.pending_migrations():
        raise SettingsError(f"the store lacks {len(missing)} migrations; apply them with: cauce state migrate")


def _health(core: GatewayCore, stores: Stores) -> Health:
    """The gateway is ready while its store answers and it hears Kafka."""
    from streams.health import Health

    async def hears() -> str | None:
        return None if core.ingress.ready and core.feed.ready.is_set() else "Kafka is not connected"

    async def stored() -> str | None:
        await stores.ping()
        return None

    return Health(ready={"kafka": hears, "store": stored})


async def _until_ready(core: GatewayCore, serving: list[asyncio.Task[None]]) -> None:
    """Until Kafka was found, or the servers were told to stop."""
    waiting = asyncio.ensure_future(core.feed.ready.wait())
    await asyncio.wait({waiting, *serving}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _server(app: Any, **options: Any) -> uvicorn.Server:
    import uvicorn

    from connectors.gateway.options import GatewayOptions

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        ws="websockets-sansio",
        ws_max_size=GatewayOptions().max_body,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=64 << 10,
        **options,
    )
    return uvicorn.Server(config)


def _listen(host: str, port: int | None) -> socket.socket:
    """A listening socket; with no port given the usual one, or any when somebody has that."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in (DEFAULT_PORT, 0) if port is None else (port,):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":  # a closed connection whose reader does not read would keep its buffers for ever
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        try:
            sock.bind((host, candidate))
            sock.listen(2048)
        except OSError as error:
            sock.close()
            if port is None and candidate and error.errno == errno.EADDRINUSE:
                continue
            raise SettingsError(
                f"the gateway cannot listen on {host}:{candidate}: {os.strerror(error.errno or 0)}. "
                "Choose another with CAUCE_GATEWAY_PORT or --port"
            ) from error
        sock.setblocking(False)
        return sock
    raise AssertionError("any free port can be had")


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"
