"""The middleware that sees what is refused, for the audit trail."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

from connectors.gateway.auth.middleware import App
from core.api_keys import PREFIX
from core.audit_writer import actor_of
from core.principal import Principal
from core.refused_requests import RefusedRequests
from schemas import SYSTEM_TENANT, Action, is_id, is_tenant_id, storable_text

Scope = MutableMapping[str, Any]

_REFUSED = (401, 403, 429)
_NOTED = "cauce.refusal_noted"


class RefusalWatch:
    """ASGI middleware around the authentication: notes answers of 401, 403 and 429, with the code that their bodies have."""

    def __init__(self, app: App, *, refused: RefusedRequests) -> None:
        self._app, self._refused = app, refused

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Passes everything on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        status = 0

        async def watching(message: Scope) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
            elif status in _REFUSED and message["type"] in ("http.response.body", "websocket.http.response.body"):
                self._note(scope, status, message.get("body", b""))
                status = 0
            await send(message)

        await self._app(scope, receive, watching)

    def _note(self, scope: Scope, status: int, body: bytes) -> None:
        if scope.get(_NOTED):
            return
        principal: Principal | None = scope.get("cauce.principal")
        about: dict[str, Any] = {
            "details": {"method": scope.get("method", "GET"), "path": storable_text(scope["path"][:200])}
        }
        if principal is None:
            actor, tenant_id = "anonymous", SYSTEM_TENANT
            about["credential"] = _claimed(scope)
        else:
            actor, tenant_id = actor_of(principal), principal.tenant_id
            about |= {"user_id": principal.user_id, "credential": principal.credential}
        self._refused.note(tenant_id, Action.REQUEST_REFUSED, actor=actor, reason=_code(status, body), **about)


def mark_as_noted(scope: Scope) -> None:
    """Says that the trail knows about the refusal that follows."""
    scope[_NOTED] = True


def _code(status: int, body: bytes) -> str:
    try:
        found = json.loads(body)["code"]
    except (ValueError, LookupError, TypeError):
        return str(status)
    return str(found)[:64]


def _claimed(scope: Scope) -> str | None:
    """The id of the key that was shown and is not valid; never its secret."""
    for name, value in scope["headers"]:
        if name in (b"x-api-key", b"authorization"):
            parts = value.decode("latin-1").rpartition(" ")[2].removeprefix(PREFIX).split(".")
            if len(parts) == 3 and is_tenant_id(parts[0]) and is_id(parts[1]):
                return f"key:{parts[0]}/{parts[1]}"
    return None
