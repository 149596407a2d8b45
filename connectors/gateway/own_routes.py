"""Routes of the application's own (`http.app` of a langgraph.json), beside ours: behind the same door, and never in place of one
of ours. Middleware of a Starlette application is around all that the gateway serves, as on LangGraph's server.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, BaseUser, UnauthenticatedUser
from starlette.routing import BaseRoute, Match, Mount

from connectors.foreign import contained, no_exits
from connectors.gateway.auth.middleware import App, Scope
from connectors.gateway.own_lifespan import lifespan_of
from core.principal import Principal
from schemas import SettingsError

_INNER = "cauce.inner"
_OF_A_ROUTER = ("app", "router", "route", "endpoint", "path_params")
"""What routers and applications of ours leave in a scope."""


class SignedIn(BaseUser):
    """Who calls, as routes of the application's own find it: `request.user`. Also by key, as on LangGraph's server."""

    def __init__(self, principal: Principal) -> None:
        self.tenant_id, self.permissions = principal.tenant_id, sorted(principal.scopes)
        self._user_id = principal.user_id

    @property
    def is_authenticated(self) -> bool:
        """Yes."""
        return True

    @property
    def identity(self) -> str:
        """The user's id."""
        return self._user_id

    @property
    def display_name(self) -> str:
        """The user's id."""
        return self._user_id

    def __getitem__(self, name: str) -> Any:
        if name not in ("identity", "display_name", "is_authenticated", "permissions", "tenant_id"):
            raise KeyError(name)
        return getattr(self, name)


class Ours:
    """Which paths are ours. `routes` are asked for when the first request comes: there are none before."""

    def __init__(self, routes: Callable[[], Sequence[BaseRoute]]) -> None:
        self._routes = routes

    def __call__(self, scope: Scope) -> bool:
        """Whether one of our routes has the path, for whatever method, with or without a slash at its end."""
        other = scope["path"].rstrip("/") if scope["path"].endswith("/") else scope["path"] + "/"
        return _has(self._routes(), scope) or (other != "" and _has(self._routes(), {**scope, "path": other}))


def _has(routes: Sequence[BaseRoute], scope: Scope) -> bool:
    for route in routes:
        match, child = route.matches(scope)
        if match is Match.NONE:
            continue
        if not isinstance(route, Mount) or _has(route.routes or (), {**scope, **child}):
            return True
    return False


class OwnApp:
    """An ASGI application. `opened`: its routes need no credential; `auth_first`: its middleware comes after the sign-in."""

    def __init__(self, app: App, *, opened: bool = False, auth_first: bool = False) -> None:
        self.app, self.opened, self.auth_first = app, opened, auth_first
        self.state: Mapping[str, Any] = {}
        """What its lifespan gives to its requests."""
        self.has_middleware = isinstance(app, Starlette) and bool(app.user_middleware)
        self._routes = app
        if self.has_middleware:
            # Its middleware ends in its router; there the request goes to our door, and comes back for a route of its own.
            assert isinstance(app, Starlette)
            self._routes, app.router.middleware_stack = app.router.middleware_stack, self._pass_on

    def check(self, ours: Ours) -> None:
        """Raises `SettingsError` for a route that could never be reached, since its path is one of ours."""
        for path in _paths(getattr(self.app, "routes", ())):
            sample = re.sub(r"\{[^}]*\}", "0", path)
            if ours({"type": "http", "method": "GET", "path": sample, "root_path": "", "headers": []}):
                raise SettingsError(
                    f"the route {path} of http.app has a path of Cauce's own, and would not be reached. Give it another path, "
                    "or take Cauce's away with one of http.disable_* (docs/gateway.md)"
                )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs the application's lifespan around the block. Raises `SettingsError` where it does not start."""
        async with lifespan_of(self.app) as self.state:
            yield

    async def around(self, scope: Scope, receive: Any, send: Any, inner: App) -> None:
        """Passes a request through its middleware, and on to `inner`."""
        kept = {name: scope[name] for name in (*_OF_A_ROUTER, "state") if name in scope}
        await _contained(self.app, {**scope, "state": dict(self.state), _INNER: (inner, kept)}, receive, send)

    async def _pass_on(self, scope: Scope, receive: Any, send: Any) -> None:
        inner, kept = scope[_INNER]
        ours = {name: value for name, value in scope.items() if name not in (*_OF_A_ROUTER, "state")}
        await inner({**ours, **kept}, receive, send)

    async def serve(self, scope: Scope, receive: Any, send: Any) -> None:
        """A request to one of its own routes."""
        principal: Principal | None = scope.get("cauce.principal")
        given = {name: value for name, value in scope.items() if name not in _OF_A_ROUTER}
        given["state"] = dict(self.state)
        if "user" not in given:  # its middleware may have signed somebody in itself
            given["user"] = SignedIn(principal) if principal else UnauthenticatedUser()
            given["auth"] = AuthCredentials(sorted(principal.scopes) if principal else [])
        if self.has_middleware:
            given["app"] = self.app
        await _contained(self._routes, given, receive, send)


class Around:
    """ASGI middleware: that of the application's own, around what is behind this."""

    def __init__(self, app: App, *, own: OwnApp) -> None:
        self._app, self._own = app, own

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Passes requests through it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        else:
            await self._own.around(scope, receive, send, self._app)


class Beside:
    """ASGI middleware behind the sign-in: what is not ours is the application's own."""

    def __init__(self, app: App, *, own: OwnApp, ours: Ours, below: str = "") -> None:
        """The application's routes are also served under the path `below`."""
        self._app, self._own, self._ours, self._below = app, own, ours, below

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serves it where it belongs."""
        if scope["type"] == "lifespan" or self._ours(scope):
            await self._app(scope, receive, send)
            return
        if self._below and scope["path"].startswith(self._below + "/"):
            scope = {**scope, "root_path": scope.get("root_path", "") + self._below}
        await self._own.serve(scope, receive, send)


async def _contained(app: App, scope: Scope, receive: Any, send: Any) -> None:
    """Whatever it ends with costs this request."""

    async def called() -> None:
        with no_exits():
            await app(scope, receive, send)

    work: Awaitable[None] = called()
    await contained(work)


def _paths(routes: Sequence[BaseRoute]) -> Iterator[str]:
    """The paths of routes; what is mounted may be anything."""
    for route in routes:
        if not isinstance(route, Mount) and isinstance(path := getattr(route, "path", None), str):
            yield path
