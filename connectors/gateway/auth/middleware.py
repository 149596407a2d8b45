"""Puts the principal into every request's scope, before any route sees it; nothing but what is named as open passes without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any, Protocol

from starlette.requests import HTTPConnection
from starlette.responses import Response

from connectors.gateway.own_address import SESSION_COOKIE, OwnAddress
from connectors.gateway.problems import Problem, as_problem, response
from core.access import Access
from core.api_keys import PREFIX, ApiKeys
from core.principal import Principal
from core.refusals import Refused
from core.request_context import RequestContext, enter
from core.sessions import Sessions
from schemas.common.turns import serve

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class CountsStrangers(Protocol):
    """Whoever counts what comes without a valid credential."""

    async def count(self, scope: Scope) -> None:
        """A request of somebody unknown. Raises `Refused` where there were too many."""
        ...

    async def before(self, scope: Scope, credential: str) -> None:
        """A credential is about to be looked up. Raises `Refused` where too many were wrong."""
        ...

    def valid(self, credential: str) -> None:
        """The credential was valid."""
        ...


class Tokens(Protocol):
    """Whoever understands access tokens of OIDC issuers."""

    async def find(self, token: str) -> Principal | None:
        """Whom a token belongs to; None for one that is not valid here."""
        ...


def principal_of(request: HTTPConnection) -> Principal:
    """Who calls."""
    found: Principal = request.scope["cauce.principal"]
    return found


class Authentication:
    """ASGI middleware. `open_paths` need no credential; a path that ends with `/` stands for all below it. They are paths of
    ours: those of which `is_foreign` says that they are not need one, unless `foreign_open`."""

    def __init__(
        self,
        app: App,
        *,
        keys: ApiKeys,
        sessions: Sessions,
        tokens: Tokens | None,
        strangers: CountsStrangers,
        open_paths: tuple[str, ...],
        is_foreign: Callable[[Scope], bool] = lambda scope: False,
        foreign_open: bool = False,
        access: Access,
        address: OwnAddress,
    ) -> None:
        self._app, self._keys, self._sessions, self._tokens, self._open = app, keys, sessions, tokens, open_paths
        self._is_foreign, self._foreign_open, self._access = is_foreign, foreign_open, access
        self._address = address
        self._strangers = strangers

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answers 401 and 429 itself; otherwise the request is passed on with `cauce.principal` and `cauce.request_id`."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        address = str((scope.get("client") or ("",))[0])[:64]
        headers = request.headers
        context = RequestContext.of(headers.get("x-request-id", ""), headers.get("traceparent", ""), address)
        enter(context)
        scope["cauce.request_id"] = request_id = context.request_id
        with_id = _adding(send, request_id)
        is_open = scope.get("method") == "OPTIONS" or self._is_open(scope["path"])
        try:
            if is_open and not self._is_foreign(scope):
                await self._strangers.count(scope)
                self._address.require_own_page(request, with_session=False)
            else:
                try:
                    principal = await self._access.admit(await self._principal(request))
                    scope["cauce.principal"] = principal
                    enter(replace(context, credential=principal.credential))
                    serve(principal.tenant_id, principal.user_id)
                except Refused as refused:
                    if as_problem(refused).status == 401:
                        await self._strangers.count(scope)
                    if not (self._foreign_open and self._is_foreign(scope)):
                        raise
        except Exception as error:
            refusal: Response = response(as_problem(error), request_id)
            await refusal(scope, receive, with_id)
            return
        await self._app(scope, receive, with_id)

    def _is_open(self, path: str) -> bool:
        return any(path == p or (p.endswith("/") and path.startswith(p)) for p in self._open)

    async def _principal(self, request: HTTPConnection) -> Principal:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        credential = request.headers.get("x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else "")
        if credential:
            await self._strangers.before(request.scope, credential)
            found = None
            if credential.startswith(PREFIX):
                found = await self._keys.find(credential)
            elif self._tokens:
                found = await self._tokens.find(credential)
            if found:
                self._strangers.valid(credential)
                return found
            detail = "The credential is not valid: it is wrong, revoked or expired."
            raise Problem(401, "bad_credential", detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if cookie := request.cookies.get(self._address.cookie(request, SESSION_COOKIE)):
            await self._strangers.before(request.scope, cookie)
            if found := await self._sessions.find(cookie):
                self._strangers.valid(cookie)
                self._address.require_own_page(request, with_session=True)
                return found
        detail = "Who is calling? Send an API key as x-api-key or Authorization: Bearer; make one with: cauce tenant key create"
        raise Problem(401, "credential_missing", detail, headers={"WWW-Authenticate": "Bearer"})


def _adding(send: Any, request_id: str) -> Any:
    async def sending(message: Scope) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            names = {name for name, _ in headers}
            headers.append((b"x-request-id", request_id.encode()))
            if b"cache-control" not in names:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await send(message)

    return sending
