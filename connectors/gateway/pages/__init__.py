"""The gateway's own pages: what they consist of lies beside this file, and nothing is loaded from elsewhere. Scripts and styles
are files of their own, since the Content-Security-Policy of all answers forbids them inside a page (`streams/http_server.py`).
"""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path
from string import Template

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

START_PAGE = "/v1/docs"
"""Where a browser arrives that has signed in: the API, and who is signed in."""

_TYPES = {".css": "text/css", ".js": "text/javascript"}
router = APIRouter(include_in_schema=False)


@cache
def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text("utf-8")


def page(name: str, **values: str) -> HTMLResponse:
    """A page with values for its `$names`, which are escaped."""
    return HTMLResponse(Template(_text(name)).substitute({k: escape(v) for k, v in values.items()}))


def _file(name: str) -> Response:
    kept = {"Cache-Control": "no-cache"}
    return Response(_text(name), media_type=_TYPES[Path(name).suffix], headers=kept)


@router.get(START_PAGE)
async def reference() -> Response:
    """The API, as `openapi.json` describes it."""
    return page("reference.html")


@router.get(START_PAGE + "/reference.js")
async def reference_script() -> Response:
    """Its script."""
    return _file("reference.js")


@router.get(START_PAGE + "/pages.css")
@router.get("/login/pages.css")
async def style() -> Response:
    """The style of all pages."""
    return _file("pages.css")
