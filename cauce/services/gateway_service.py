"""The gateway: it serves HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import inspect
import logging
import os
import resource
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from cauce.hosting import Hosting, hosting_of
from cauce.running import GatewayNote
from cauce.service import Process, Service
from cauce.settings import Settings
from schemas import SettingsError
from schemas.common.serving import ServingTask

if TYPE_CHECKING:
    from cauce.langgraph_http import HttpPart
    from connectors.gateway.gateway_core import GatewayCore
    from connectors.gateway.own_routes import OwnApp
    from connectors.gateway.settings import GatewaySettings
    from connectors.graphs import Graphs
    from streams.http_server import QuietServer

log = logging.getLogger("cauce.gateway")

DEFAULT_PORT = 8123
"""The port at which clients expect LangGraph's own server."""
UNREAD_MS = 15_000
"""How long sent data may stay unread or unacknowledged before the connection is closed (RFC 5482)."""
OPEN_FILES = 65_536
OWN_FILES = 256
"""Open files that are no connections of callers."""
STOP_SECONDS = 3
"""Open streams are closed after this time; their clients reconnect, here or to another gateway."""


async def _run(process: Process) -> None:
    """Raises `SettingsError` when it cannot listen on an address. Under `cauce up` the note has a login link for the owner."""
    settings = process.settings
    allow_open_files()
    listening = _listen(settings.gateway.host, settings.gateway.port if process.port is None else process.port)
    tls = settings.gateway.tls_context()
    url = _url(listening, "https" if tls else "http")
    async with process.opened(), contextlib.AsyncExitStack() as stack:
        hosting = hosting_of(settings)
        hosting.set_environment()
        graphs = hosting.graphs()
        own = await process.unless_stopped(_own_app(graphs, hosting.http)) if hosting.http.app else None
        core = _core(process, hosting, graphs)
        app = _app(process, core, hosting, own)
        servers = [(_server(process.tracing.of_requests(app), settings.gateway, tls), listening)]
        if settings.gateway.langgraph_port is not None:
            second = _server(
                process.tracing.of_requests(app.state.langgraph_alone()), settings.gateway, tls, lifespan="off"
            )
            servers.append((second, _listen(settings.gateway.host, settings.gateway.langgraph_port)))
        link = await _link(process, core, url) if process.supervised else None
        if own:
            await process.unless_stopped(stack.enter_async_context(own.running()))
        async with _served(servers):
            await process.unless_stopped(core.feed.ready.wait())
            log.info("the gateway serves %s, health at %s", url, process.health_address)
            process.ready(GatewayNote(title="Gateway", health=process.health_address, url=url, login=link))
            await process.stop.wait()


def _core(process: Process, hosting: Hosting, graphs: Graphs) -> GatewayCore:
    """The use cases. The gateway is ready while it is connected to Kafka."""
    from connectors.gateway.app import make_core
    from connectors.gateway.gateway_options import GatewayOptions
    from core.quotas import QuotaLimits

    minutes, strategy = hosting.thread_ttl or (None, "delete")
    gateway = process.settings.gateway
    options = GatewayOptions(
        thread_minutes=minutes,
        thread_strategy=strategy,
        session_seconds=gateway.session_hours * 3600,
        session_idle_seconds=gateway.session_idle_hours * 3600,
        quotas=QuotaLimits(**process.settings.quota.model_dump()),
    )
    core = make_core(process.settings.kafka_servers, process.stores, options, process.registry, graphs)

    async def hears() -> str | None:
        return None if core.ingress.ready and core.feed.ready.is_set() else "Kafka is not connected"

    process.health.ready["kafka"] = hears
    return core


def _app(process: Process, core: GatewayCore, hosting: Hosting, own: OwnApp | None) -> Any:
    from connectors.gateway.app import make_app
    from connectors.gateway.client_address import networks
    from connectors.gateway.limits import Rates

    settings, http = process.settings, hosting.http
    cors = asdict(http.cors)
    if origins := [o.strip() for o in (settings.gateway.origins or "").split(",") if o.strip()]:
        cors |= {"allow_origins": origins, "allow_origin_regex": None}
    store, access = settings.redis_access.store(settings.redis)
    rates = Rates(**settings.rate.model_dump(), store=store, access=access)
    return make_app(
        core,
        rates=rates,
        cors=cors,
        own=own,
        without=http.without,
        public_url=settings.gateway.public_url,
        trusted_proxies=networks(settings.gateway.trusted_proxies),
    )


async def _link(process: Process, core: GatewayCore, url: str) -> str:
    from core.principal import OPERATOR

    settings = process.settings
    secret = await core.sessions.link(OPERATOR, settings.tenant, settings.user)
    return f"{settings.gateway.public_url or url}/login?link={secret}"


@contextlib.asynccontextmanager
async def _served(servers: Sequence[tuple[QuietServer, socket.socket]]) -> AsyncIterator[None]:
    """Serves during the block; its end shuts the servers down."""
    tasks = [
        ServingTask(
            f"the HTTP server at {_url(sock, 'https' if server.config.is_ssl else 'http')}",
            partial(server.serve, sockets=[sock]),
        )
        for server, sock in servers
    ]
    for task in tasks:
        task.start()
    try:
        yield
    finally:
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*(task.until_over() for task in tasks))


async def _own_app(graphs: Graphs, http: HttpPart) -> OwnApp:
    """The application's own routes. Raises `SettingsError` if they cannot be loaded, since their middleware may protect our
    routes as well."""
    from connectors.gateway.own_routes import OwnApp

    assert http.app
    found = await graphs.imported("http.app", http.app)
    if not callable(found) or inspect.isclass(found):
        raise SettingsError(
            f"http.app ({http.app}) is a {type(found).__name__}. It must be an ASGI application, such as one made with "
            "FastAPI or Starlette"
        )
    open_to = "everybody" if http.opened else "authenticated users"
    log.info("the application's own routes are served to %s: %s", open_to, http.app)
    return OwnApp(found, opened=http.opened, auth_first=http.auth_first)


def allow_open_files() -> None:
    """Raises this process's limit of open files: systems start with 1,024, and each stream needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a system may allow less than its hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _server(app: Any, settings: GatewaySettings, tls: ssl.SSLContext | None, **options: Any) -> QuietServer:
    from connectors.gateway.gateway_options import GatewayOptions
    from streams.http_server import HttpLimits, make_server

    open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = HttpLimits(
        connections=max(min(HttpLimits().connections, open_files - OWN_FILES), 64),
        connections_per_address=settings.connections_per_address,
    )
    return make_server(
        app,
        limits,
        log_config=None,
        proxy_headers=False,  # `TrustedProxies` reads them
        ws="websockets-sansio",
        ws_max_size=GatewayOptions().max_body,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=STOP_SECONDS,
        ssl_context_factory=(lambda *_: tls) if tls else None,
        **options,
    )


def _listen(host: str, port: int | None) -> socket.socket:
    """A listening socket; without a port, on the default one, or any free one if that is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in (DEFAULT_PORT, 0) if port is None else (port,):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":  # otherwise a closed connection whose peer does not read keeps its buffers forever
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
    raise AssertionError("binding to port 0 always finds a free port")


def _url(sock: socket.socket, scheme: str) -> str:
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{scheme}://{shown}:{port}"


_PROVIDERS = (
    *(
        "OPENAI",
        "AZURE_OPENAI",
        "ANTHROPIC",
        "GOOGLE",
        "GEMINI",
        "MISTRAL",
        "COHERE",
        "GROQ",
        "XAI",
        "DEEPSEEK",
        "TOGETHER",
    ),
    *("FIREWORKS", "PPLX", "OPENROUTER", "NVIDIA", "HUGGINGFACEHUB", "CEREBRAS"),
)
"""Whose models LangChain's `init_chat_model` calls with a key of this name."""
MODEL_KEYS = frozenset(f"{name}_API_{what}" for name in _PROVIDERS for what in ("KEY", "TOKEN"))


def _variables(settings: Settings, given: Mapping[str, str]) -> Mapping[str, str]:
    """All but the keys of models, which workers call. Hosted graphs and applications are imported here too: they get all."""
    hosts = settings.graphs or settings.langgraph
    return given if hosts else {name: value for name, value in given.items() if name not in MODEL_KEYS}


SERVICE = Service(
    name="gateway",
    variables=_variables,
    run=_run,
    command=("gateway",),
    imports=("connectors.gateway.app",),
    health_port=lambda settings: settings.gateway.health_port,
    uvloop=True,
)
