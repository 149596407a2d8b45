"""Browsers: a one-time link begins a session, `/auth/logout` ends it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from connectors.gateway.auth.middleware import COOKIE, CSRF_HEADER
from connectors.gateway.request_parts import core_of
from core.refusals import Forbidden, not_found
from core.sessions import LIFETIME
from schemas import is_id, is_tenant_id

router = APIRouter(include_in_schema=False)
ATTEMPT_COOKIE = "cauce_login"
ATTEMPT_SECONDS = 600
"""How long signing in at the provider may take."""
START_PAGE = "/v1/docs"

_CONFIRM = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Cauce</title>
<meta name="referrer" content="no-referrer"><body style="font:16px sans-serif;max-width:30em;margin:4em auto">
<h1>Cauce</h1><p>This link signs you in on this browser, once.</p>
<form method="post" action="login"><input type="hidden" name="link" value="{link}">
<button style="font:inherit;padding:.5em 1em">Sign in</button></form></body></html>"""


@router.get("/login")
async def ask(link: Annotated[str, Query(max_length=300, pattern=r"^[A-Za-z0-9_.\-]+$")]) -> Response:
    """Asks before it uses the link up: previews of links that chat programs fetch would take it otherwise."""
    return HTMLResponse(_CONFIRM.format(link=link), headers={"Referrer-Policy": "no-referrer"})


@router.post("/login")
async def use(request: Request) -> Response:
    """Begins the session and goes to the start page."""
    form = (await request.body()).decode("ascii", "replace")
    link = form.removeprefix("link=")
    cookie = await core_of(request).sessions.redeem(link)
    if cookie is None:
        raise Forbidden("link_used", "This link was used before or has expired; `cauce up` prints a new one.")
    return signed_in(request, cookie, START_PAGE)


@router.post("/auth/logout")
async def logout(request: Request) -> Response:
    """Ends the session, and says where to log out at the provider too."""
    cookie = request.cookies.get(COOKIE)
    target = None
    if cookie and request.headers.get(CSRF_HEADER):
        ended = await core_of(request).sessions.end(cookie)
        if ended:
            tenant_id, back = cookie.partition(".")[0], str(request.base_url)
            target = await request.app.state.oidc.logout_url(tenant_id, ended.method, back)
    gone = JSONResponse({"provider_logout": target})
    gone.delete_cookie(COOKIE, path="/")
    return gone


@router.get("/auth/{tenant_id}/{provider}/login")
async def begin(request: Request, tenant_id: str, provider: str) -> Response:
    """Sends the browser to the tenant's provider."""
    _check_names(tenant_id, provider)
    url, browser = await request.app.state.oidc.begin(tenant_id, provider, _callback(request, tenant_id, provider))
    return _sent_on(request, url, ATTEMPT_COOKIE, browser, seconds=ATTEMPT_SECONDS, path="/auth/")


@router.get("/auth/{tenant_id}/{provider}/callback")
async def callback(request: Request, tenant_id: str, provider: str) -> Response:
    """Takes the browser back and begins its session."""
    _check_names(tenant_id, provider)
    query = request.query_params
    if error := query.get("error"):
        raise Forbidden("login_refused", f"The provider refused: {error[:100]}.")
    cookie = await request.app.state.oidc.finish(
        tenant_id,
        provider,
        _callback(request, tenant_id, provider),
        state=query.get("state", "")[:200],
        code=query.get("code", "")[:2000],
        browser=request.cookies.get(ATTEMPT_COOKIE),
    )
    return signed_in(request, cookie, START_PAGE)


def _callback(request: Request, tenant_id: str, provider: str) -> str:
    return str(request.url_for("callback", tenant_id=tenant_id, provider=provider))


def _check_names(tenant_id: str, provider: str) -> None:
    if not is_tenant_id(tenant_id) or not is_id(provider):
        raise not_found("provider", provider)


def signed_in(request: Request, cookie: str, target: str) -> Response:
    """A redirect that sets the session's cookie."""
    return _sent_on(request, target, COOKIE, cookie, seconds=int(LIFETIME.total_seconds()), path="/")


def _sent_on(request: Request, target: str, name: str, cookie: str, *, seconds: int, path: str) -> Response:
    response = RedirectResponse(target, 303)
    secure = request.url.scheme == "https"
    response.set_cookie(name, cookie, max_age=seconds, path=path, secure=secure, httponly=True, samesite="lax")
    return response
