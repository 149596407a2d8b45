"""How often: limits for each user, for each tenant, for starting runs, and for each address of callers without a credential.

A request is counted at the door, for its user and its tenant together; what it does beside that is counted by the operation
(`core.costs`). What is refused with 429 is counted for nobody. Headers are those of the IETF draft on RateLimit header fields
(draft-ietf-httpapi-ratelimit-headers-10).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from connectors.gateway.auth.middleware import App, Scope
from connectors.gateway.counters import Count, Counters, Hit, Outcome, Rate, make_counters
from connectors.gateway.problems import Problem, response
from core.costs import Cost, paying
from core.principal import Principal

log = logging.getLogger("cauce.gateway")

_SAY_AGAIN = 10.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits, written as `600/minute`. `store` is `memory://`, or `redis://host:6379` where several gateways share counters."""

    user: str = "1200/minute"
    tenant: str = "12000/minute"
    runs: str = "300/minute"
    """Runs that one user starts or continues."""
    strangers: str = "600/minute"
    """Requests without a valid credential of one address."""
    store: str = field(default="memory://", repr=False)
    """It may have a password."""
    access: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Arguments of the Redis client."""


class Budgets:
    """The counts of an installation's callers; both ports of a gateway have the same. While the store of the counts is away,
    nobody is held up."""

    def __init__(self, rates: Rates, counters: Counters | None = None) -> None:
        """Raises `SettingsError` for rates or a store that mean nothing."""
        self.user, self.tenant, self.runs, self.strangers = (
            Rate.of(text) for text in (rates.user, rates.tenant, rates.runs, rates.strangers)
        )
        self._counters = counters or make_counters(rates.store, rates.access)
        self._warned = float("-inf")

    async def take(self, *hits: Hit) -> Outcome | None:
        """How the counts stand then; None where they could not be counted. Raises `Problem` 429 where one has no room."""
        try:
            found = await self._counters.hit(*hits)
        except Exception as error:
            if time.monotonic() - self._warned > _SAY_AGAIN:
                self._warned = time.monotonic()
                log.warning("requests are not being counted: %r", error)
            return None
        if found.refused:
            raise _too_many(found.refused)
        return found

    def requests_of(self, principal: Principal, amount: int = 1) -> tuple[Hit, Hit]:
        """The counts of a request: the user's comes first, so that who asks too often uses up nothing of the tenant's."""
        user = f"{principal.tenant_id}:{principal.user_id}"
        return Hit("user", user, self.user, amount), Hit("tenant", principal.tenant_id, self.tenant, amount)


class _Payer:
    """Pays for the operations of one caller."""

    def __init__(self, budgets: Budgets, principal: Principal) -> None:
        self._budgets, self._principal = budgets, principal

    async def pay(self, cost: Cost) -> None:
        """See `core.costs.Payer`."""
        if hits := self._hits(cost):
            await self._budgets.take(*hits)

    async def give_back(self, cost: Cost) -> None:
        """See `core.costs.Payer`."""
        await self.pay(cost * -1)

    def _hits(self, cost: Cost) -> list[Hit]:
        principal, hits = self._principal, []
        if cost.runs:
            user = f"{principal.tenant_id}:{principal.user_id}"
            hits.append(Hit("runs", user, self._budgets.runs, cost.runs))
        if cost.requests:
            hits.extend(self._budgets.requests_of(principal, cost.requests))
        return hits


class RateLimits:
    """ASGI middleware behind the authentication."""

    def __init__(self, app: App, *, budgets: Budgets) -> None:
        self._app, self._budgets = app, budgets

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Counts the request; answers 429 itself. On a WebSocket each command is a request, counted by whoever reads it."""
        principal: Principal | None = scope.get("cauce.principal")
        if scope["type"] not in ("http", "websocket") or principal is None:
            await self._app(scope, receive, send)
            return
        try:
            outcome = await self._budgets.take(*self._budgets.requests_of(principal))
        except Problem as problem:
            await response(problem, scope.get("cauce.request_id", ""))(scope, receive, send)
            return
        if scope["type"] == "websocket":
            scope["cauce.count"] = partial(self._command, principal)
        elif outcome:
            send = _telling(send, outcome)
        with paying(_Payer(self._budgets, principal)):
            await self._app(scope, receive, send)

    async def _command(self, principal: Principal) -> None:
        """Counts a command of a WebSocket. Raises `Refused`."""
        await self._budgets.take(*self._budgets.requests_of(principal))


def _telling(send: Any, outcome: Outcome) -> Any:
    """Adds the headers of the tightest count, where the answer has none of its own."""
    tightest = min(outcome.counts, key=lambda count: count.left / count.hit.rate.most)
    raw = [(name.lower().encode(), value.encode()) for name, value in _headers(tightest).items()]

    async def sending(message: Scope) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            if not any(name == b"ratelimit" for name, _ in headers):
                message = {**message, "headers": [*headers, *raw]}
        await send(message)

    return sending


def _headers(count: Count) -> dict[str, str]:
    rate = count.hit.rate
    return {
        "RateLimit-Policy": f'"{count.hit.name}";q={rate.most};w={rate.seconds}',
        "RateLimit": f'"{count.hit.name}";r={count.left};t={count.seconds}',
    }


_WHAT = {
    "user": "You have made {0} requests in {1} s",
    "tenant": "Your organisation has made {0} requests in {1} s",
    "runs": "This would be more than {0} runs of yours in {1} s",
    "strangers": "There were {0} requests without a valid credential from your address in {1} s",
}


def _too_many(count: Count) -> Problem:
    said = _WHAT[count.hit.name].format(f"{count.hit.rate.most:,}", count.hit.rate.seconds)
    detail = f"{said}, the most allowed; try again in {count.seconds} s."
    return Problem(429, "rate_limited", detail, headers={**_headers(count), "Retry-After": str(count.seconds)})
