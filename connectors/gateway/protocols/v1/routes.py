"""The routes of `/v1`, one tag each for threads, runs, approvals and the rest, and their OpenAPI document."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from connectors.gateway.protocols.v1 import (
    admin_routes,
    approval_routes,
    audit_routes,
    run_routes,
    tenant_routes,
    thread_routes,
)
from connectors.gateway.protocols.v1.parameters import ERRORS

VERSION = "1"
_ABOUT = """
Cauce's HTTP API. Every request needs a credential: an API key as `x-api-key` or `Authorization: Bearer`, an access token
of your tenant's OpenID provider, or a browser session. Errors are RFC 9457 problems with a stable `code`.
"""

router = APIRouter(prefix="/v1", responses=ERRORS)
for part in (thread_routes, run_routes, approval_routes, tenant_routes, audit_routes, admin_routes):
    router.include_router(part.router)


@cache
def document() -> dict[str, Any]:
    """The contract, with the ways to say who one is. `docs/openapi.json` is a copy."""
    schema = get_openapi(title="Cauce", version=VERSION, description=_ABOUT, routes=router.routes)
    schema.setdefault("components", {})["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    schema["security"] = [{"key": []}, {"bearer": []}]
    return schema
