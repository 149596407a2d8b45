"""Browsers: a one-time link or a provider begins a session, `/auth/logout` ends it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from connectors.gateway.own_address import LOGIN_COOKIE, SESSION_COOKIE, OwnAddress
from connectors.gateway.pages import START_PAGE, page
from connectors.gateway.refusal_watch import mark_as_noted
from connectors.gateway.request_parts import core_of
from core.login_attempts import LIFETIME as ATTEMPT_LIFETIME
from core.refusals import Forbidden, Refused, not_found
from schemas import Action, Unavailable, is_id, is_tenant_id


def _address(request: Request) -> OwnAddress:
    found: OwnAddress = request.app.state.address
    return found


def _at_own_host(request: Request) -> None:
    _address(request).require_host(request)


router = APIRouter(include_in_schema=False, dependencies=[Depends(_at_own_host)])


@router.get("/login")
async def ask(request: Request, link: Annotated[str, Query(max_length=300, pattern=r"^[A-Za-z0-9_.\-]+$")]) -> Response:
    """Asks before it uses the link up: previews of links that chat programs fetch would take it otherwise. It names the user,
    since somebody else may have sent the link."""
    whose = await core_of(request).sessions.whose(link)
    if whose is None:
        raise _used()
    return page("sign_in.html", link=link, tenant=whose[0], user=whose[1])


@router.post("/login")
async def use(request: Request) -> Response:
    """Begins the session and goes to the start page."""
    form = (await request.body()).decode("ascii", "replace")
    link = form.removeprefix("link=")
    cookie = await core_of(request).sessions.redeem(link)
    if cookie is None:
        raise _used()
    return await signed_in(request, cookie, START_PAGE)


def _used() -> Forbidden:
    return Forbidden("link_used", "This link was used before or has expired; `cauce login` prints a new one.")


@router.post("/auth/logout")
async def logout(request: Request) -> Response:
    """Ends the session, and says where to log out at the provider too."""
    address = _address(request)
    address.require_own_page(request, with_session=True)
    cookie, target = request.cookies.get(address.cookie(request, SESSION_COOKIE)), None
    ended = await core_of(request).sessions.end(cookie) if cookie else None
    if cookie and ended:
        tenant_id, back = cookie.partition(".")[0], address.base(request) + START_PAGE
        try:
            target = await request.app.state.oidc.logout_url(tenant_id, ended.method, back)
        except (
            Refused,
            Unavailable,
        ):  # the provider was removed, or does not answer: the session here has ended all the same
            target = None
    gone = JSONResponse({"provider_logout": target})
    _delete(gone, request, SESSION_COOKIE)
    return gone


@router.get("/auth/{tenant_id}/{provider}/login")
async def begin(request: Request, tenant_id: str, provider: str) -> Response:
    """Sends the browser to the tenant's provider."""
    _check_names(tenant_id, provider)
    url, sealed = await request.app.state.oidc.begin(tenant_id, provider, _callback(request, tenant_id, provider))
    return _sent_on(request, url, LOGIN_COOKIE, sealed, seconds=int(ATTEMPT_LIFETIME.total_seconds()))


@router.get("/auth/{tenant_id}/{provider}/callback")
async def callback(request: Request, tenant_id: str, provider: str) -> Response:
    """Takes the browser back and begins its session."""
    _check_names(tenant_id, provider)
    query = request.query_params
    if error := query.get("error"):
        await _tell(request, tenant_id, provider, "login_refused")
        raise Forbidden("login_refused", f"The provider refused: {error[:100]}.")
    try:
        cookie = await request.app.state.oidc.finish(
            tenant_id,
            provider,
            _callback(request, tenant_id, provider),
            state=query.get("state", "")[:200],
            code=query.get("code", "")[:2000],
            sealed=request.cookies.get(_address(request).cookie(request, LOGIN_COOKIE)),
        )
    except Forbidden as refused:
        await _tell(request, tenant_id, provider, refused.code)
        raise
    arrived = await signed_in(request, cookie, START_PAGE)
    _delete(arrived, request, LOGIN_COOKIE)
    return arrived


async def _tell(request: Request, tenant_id: str, provider: str, reason: str) -> None:
    """The trail of the tenant tells that somebody was not let in. Raises `Missing` where there is no such provider."""
    core = core_of(request)
    await core.providers.find(tenant_id, provider)
    core.refused.note(tenant_id, Action.LOGIN_REFUSED, actor="anonymous", reason=reason, subject=provider)
    mark_as_noted(request.scope)


def _callback(request: Request, tenant_id: str, provider: str) -> str:
    return f"{_address(request).base(request)}/auth/{tenant_id}/{provider}/callback"


def _check_names(tenant_id: str, provider: str) -> None:
    if not is_tenant_id(tenant_id) or not is_id(provider):
        raise not_found("provider", provider)


async def signed_in(request: Request, cookie: str, target: str) -> Response:
    """A redirect that sets the session's cookie. The session that the browser had before is ended."""
    if before := request.cookies.get(_address(request).cookie(request, SESSION_COOKIE)):
        await core_of(request).sessions.end(before)
    return _sent_on(
        request, target, SESSION_COOKIE, cookie, seconds=int(core_of(request).sessions.lifetime.total_seconds())
    )


def _sent_on(request: Request, target: str, name: str, value: str, *, seconds: int) -> Response:
    response, address = RedirectResponse(target, 303), _address(request)
    secure = address.is_https(request)
    named = address.cookie(request, name)
    response.set_cookie(named, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="lax")
    return response


def _delete(response: Response, request: Request, name: str) -> None:
    address = _address(request)
    response.delete_cookie(
        address.cookie(request, name), path="/", secure=address.is_https(request), httponly=True, samesite="lax"
    )
