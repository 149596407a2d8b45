"""Which pages of other origins may call, also from a public page into a private network."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

_PRIVATE_NETWORK = "access-control-allow-private-network"


class Cors(CORSMiddleware):
    """Browsers ask whether a page may reach a private address (Private Network Access): pages of allowed origins may."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """See `CORSMiddleware`, which tells other origins, too, that their pages may."""
        made = super().preflight_response(request_headers)
        if not self.is_allowed_origin(origin=request_headers["origin"]) and _PRIVATE_NETWORK in made.headers:
            del made.headers[_PRIVATE_NETWORK]
        return made
