"""How often: limits for each user, for each tenant, and for starting runs, in memory or shared in Redis (`limits`).

Headers are those of the IETF draft on RateLimit header fields (draft-ietf-httpapi-ratelimit-headers-10).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string

from connectors.gateway.auth.middleware import App, Scope
from connectors.gateway.problems import Problem, response
from connectors.gateway.protocol import starts_run
from core.principal import Principal
from schemas import SettingsError
from schemas.common.server_access import without_credentials

log = logging.getLogger("cauce.gateway")

_SAY_AGAIN = 10.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits, written as `600/minute`. `store` is `memory://`, or `redis://host:6379` where several gateways share counters."""

    user: str = "1200/minute"
    tenant: str = "12000/minute"
    runs: str = "300/minute"
    """Messages of one user."""
    store: str = field(default="memory://", repr=False)
    """It may have a password."""
    access: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Arguments of the Redis client."""


class RateLimits:
    """ASGI middleware behind the authentication. While the store of the counts is away, nobody is held up."""

    def __init__(self, app: App, *, rates: Rates) -> None:
        """Raises `SettingsError` for rates or a store that mean nothing."""
        self._app = app
        self._user, self._tenant, self._runs = (_rate(text) for text in (rates.user, rates.tenant, rates.runs))
        self._limiter = SlidingWindowCounterRateLimiter(_storage(rates.store, rates.access))
        self._warned = float("-inf")

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Counts the request; answers 429 itself. On a WebSocket each command is a request, counted by whoever reads it."""
        principal: Principal | None = scope.get("cauce.principal")
        if scope["type"] not in ("http", "websocket") or principal is None:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            scope["cauce.count"] = partial(self._command, principal)
        run = scope.get("method") == "POST" and starts_run(scope["path"].rstrip("/"))
        try:
            headers, refused = await self._count(principal, run=run)
        except Exception as error:
            if time.monotonic() - self._warned > _SAY_AGAIN:
                self._warned = time.monotonic()
                log.warning("requests are not being counted: %r", error)
            await self._app(scope, receive, send)
            return
        if refused:
            detail = f"Too many requests; try again in {headers['Retry-After']} s."
            await response(Problem(429, "rate_limited", detail, headers=headers), scope.get("cauce.request_id", ""))(
                scope, receive, send
            )
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

        async def sending(message: Scope) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *raw]}
            await send(message)

        await self._app(scope, receive, sending)

    async def _command(self, principal: Principal, *, run: bool) -> None:
        """Counts a command of a WebSocket, which may start a run. Raises `Refused`."""
        try:
            headers, refused = await self._count(principal, run=run)
        except Exception as error:
            log.debug("a command is not being counted: %r", error)
            return
        if refused:
            detail = f"Too many requests; try again in {headers['Retry-After']} s."
            raise Problem(429, "rate_limited", detail, headers=headers)

    async def _count(self, principal: Principal, *, run: bool) -> tuple[dict[str, str], bool]:
        """The headers of the tightest limit, and whether one is used up."""
        who = (principal.tenant_id, principal.user_id)
        counted: list[tuple[str, RateLimitItem, tuple[str, ...]]] = [
            ("tenant", self._tenant, ("tenant", principal.tenant_id)),
            ("user", self._user, ("user", *who)),
        ]
        if run:
            counted.append(("runs", self._runs, ("runs", *who)))
        tightest: tuple[float, dict[str, str]] | None = None
        for name, item, key in counted:
            allowed = await self._limiter.hit(item, *key)
            stats = await self._limiter.get_window_stats(item, *key)
            seconds = max(1, math.ceil(stats.reset_time - time.time()))
            headers = {
                "RateLimit-Policy": f'"{name}";q={item.amount};w={item.get_expiry()}',
                "RateLimit": f'"{name}";r={stats.remaining};t={seconds}',
            }
            if not allowed:
                return {**headers, "Retry-After": str(seconds)}, True
            if tightest is None or stats.remaining / item.amount < tightest[0]:
                tightest = (stats.remaining / item.amount, headers)
        assert tightest, "two limits hold always"
        return tightest[1], False


def _rate(text: str) -> RateLimitItem:
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{text!r} is no rate; write such as 600/minute") from error


def _storage(url: str, access: Mapping[str, Any]) -> Storage:
    shown = without_credentials(url)
    if not url.startswith(("memory://", "redis://", "rediss://")):
        raise SettingsError(f"{shown!r} is no store for rates; use memory:// or redis://host:6379")
    options = {} if url.startswith("memory") else {"implementation": "redispy", **access}
    try:
        storage = storage_from_string(f"async+{url}", **options)
    except Exception as error:
        raise SettingsError(f"the store for rates {shown!r} cannot be used: {error}") from error
    assert isinstance(storage, Storage)
    return storage
