"""The HTTP face of a process: `/metrics`, `/healthz` (alive), `/readyz` (does its work, stores answer)."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, make_asgi_app

from schemas.common.metrics import RuntimeMetrics
from schemas.common.serving import ServingTask
from streams.http_server import HttpLimits, QuietServer, make_server

log = logging.getLogger("cauce.health")

LIMITS = HttpLimits(
    head_bytes=8 << 10, head_seconds=5.0, body_seconds=5.0, connections=200, connections_per_address=200
)
"""A probe or a scraper sends little."""
Check = Callable[[], Awaitable[str | None]]
"""Returns None if all is well, else a description of what is wrong."""


@dataclass
class Health:
    """What makes a process alive and ready. Checks are asked at each request, at most `check_seconds` long."""

    alive: dict[str, Check] = field(default_factory=dict)
    ready: dict[str, Check] = field(default_factory=dict)
    check_seconds: float = 3.0

    async def verdict(self, checks: dict[str, Check]) -> dict[str, str]:
        """The checks that fail, with a description."""
        return {name: problem for name, check in list(checks.items()) if (problem := await self._ask(check))}

    async def _ask(self, check: Check) -> str | None:
        try:
            return await asyncio.wait_for(check(), self.check_seconds)
        except TimeoutError:
            return f"no answer within {self.check_seconds} s"
        except Exception as error:
            return f"{type(error).__name__}: {error}"


class HealthServer:
    """Serves a `Health` and a metrics registry on 127.0.0.1 or the given host. Port 0 takes any free one.

    Descriptions of failing checks name servers and their addresses: only callers on this machine get them.
    """

    def __init__(self, health: Health, registry: CollectorRegistry, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._health, self._metrics_app = health, make_asgi_app(registry)
        self._host, self._port = host, port
        self._is_local = host in ("localhost", "::1") or host.startswith("127.")
        self._server: QuietServer | None = None
        self._task: ServingTask | None = None
        self.address = ""

    async def start(self) -> None:
        """Listens. Raises `OSError` when the port is taken."""
        sock = socket.create_server((self._host, self._port))
        host, port = sock.getsockname()[:2]
        self.address = f"http://{host}:{port}"
        server = self._server = make_server(self._app, LIMITS, interface="asgi3", log_level="warning", lifespan="off")
        self._task = ServingTask("the server of the health pages", lambda: server.serve(sockets=[sock]))
        self._task.start()

    async def stop(self) -> None:
        """Stops listening."""
        if self._server and self._task:
            self._server.should_exit = True
            await self._task.until_over()

    async def _app(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["path"].startswith("/metrics"):
            await self._metrics_app(scope, receive, send)
            return
        checks = {"/healthz": self._health.alive, "/readyz": self._health.ready}.get(scope["path"])
        if checks is None:
            status, body = 404, {"error": "try /metrics, /healthz or /readyz"}
        else:
            body = await self._health.verdict(checks)
            status = 503 if body else 200
            if body and not self._is_local:
                log.warning("%s: %s", scope["path"], body)
                body = dict.fromkeys(body, "failing; the log of the process says more")
            body = {"status": "failing" if body else "ok", **body}
        payload = json.dumps(body).encode() + b"\n"
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})


class LoopLag:
    """Measures how late the event loop runs its timers; `worst` is the worst of the last ten seconds, in seconds."""

    INTERVAL = 0.25

    def __init__(self, metrics: RuntimeMetrics) -> None:
        self._metrics = metrics
        self._recent: list[tuple[float, float]] = []

    @property
    def worst(self) -> float:
        """The largest lag of the last ten seconds."""
        return max((lag for _, lag in self._recent), default=0.0)

    async def run(self) -> None:
        """Measures until it is cancelled."""
        while True:
            started = time.monotonic()
            await asyncio.sleep(self.INTERVAL)
            now = time.monotonic()
            self._recent = [(t, lag) for t, lag in self._recent if t > now - 10]
            self._recent.append((now, now - started - self.INTERVAL))
            self._metrics.loop_lag.set(self.worst)
