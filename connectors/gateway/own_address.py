"""The gateway's own address, as browsers see it: cookies, redirects and the check of who wrote a page follow it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from connectors.gateway.problems import Problem
from core.refusals import Forbidden

SESSION_COOKIE = "cauce_session"
LOGIN_COOKIE = "cauce_login"
CSRF_HEADER = "x-cauce-request"
"""A page of another origin cannot set a header of its own without asking us first, and we do not allow it."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """`public_url` is the origin at which browsers reach the gateway; without it, whatever their requests say."""

    public_url: str | None = None

    def base(self, request: HTTPConnection) -> str:
        """The address without a slash at its end."""
        return self.public_url or str(request.base_url).rstrip("/")

    def is_https(self, request: HTTPConnection) -> bool:
        """Whether browsers come encrypted, to us or to the proxy before us."""
        if self.public_url:
            return self.public_url.startswith("https:")
        return request.scope.get("scheme") in ("https", "wss")

    def cookie(self, request: HTTPConnection, name: str) -> str:
        """The name of a cookie. With `__Host-` no sibling of our host can set it (RFC 6265bis, section 4.1.3.2)."""
        return f"__Host-{name}" if self.is_https(request) else name

    def require_host(self, request: HTTPConnection) -> None:
        """Raises `Problem` for a page that a browser asked another name for: it would not get its cookies back."""
        if self.public_url and _origin(f"//{request.headers.get('host', '')}", self.public_url) != _origin(
            self.public_url
        ):
            raise Problem(421, "wrong_host", f"This page is at {self.public_url}; the request names another host.")

    def is_from_us(self, request: HTTPConnection) -> bool:
        """Whether a request comes from one of our own pages, or from no page. Browsers state it, programs do not."""
        if (site := request.headers.get("sec-fetch-site")) is not None:
            return site in ("same-origin", "none")
        if (origin := request.headers.get("origin")) is None:
            return True
        if self.public_url:
            return _origin(origin) == _origin(self.public_url)
        return bool(origin) and origin.partition("://")[2] == request.headers.get("host")

    def require_own_page(self, request: HTTPConnection, *, with_session: bool) -> None:
        """Raises `Forbidden` for a change that a page of another origin makes a browser ask for: a cookie is sent along whoever
        wrote the page, and without one somebody could be signed in as somebody else."""
        if request.scope["type"] == "websocket":
            # A page cannot put a header of its own on a WebSocket; browsers always send its origin (RFC 6455, section 10.2).
            if with_session and not (request.headers.get("origin") and self.is_from_us(request)):
                raise Forbidden("cross_site", "A WebSocket with a session must be opened by our own page.")
            return
        if not changes(request):
            return
        if not self.is_from_us(request):
            raise Forbidden("cross_site", "This request comes from a page of another origin.")
        if with_session and not request.headers.get(CSRF_HEADER):
            detail = f"A request with a session must come from our own page and carry the header {CSRF_HEADER}."
            raise Forbidden("cross_site", detail)


def changes(request: HTTPConnection) -> bool:
    """Whether a request may change something: also one that cancels a run when its reader leaves."""
    method = request.scope["method"]
    return method not in _SAFE or (method == "GET" and "cancel_on_disconnect" in request.query_params)


def _origin(url: str, like: str = "") -> tuple[str, str, int | None]:
    """Scheme, host and port of an address; the scheme of `like` where it has none."""
    try:
        parts = urlsplit(url)
        scheme = parts.scheme or urlsplit(like).scheme
        return scheme, parts.hostname or "", parts.port or _PORTS.get(scheme)
    except ValueError:
        return "", "", None
