"""The store of a user: JSON values by namespace and key. No namespace leads to another user's values."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from connectors.gateway.answer_bytes import ANSWER_BYTES
from connectors.gateway.protocols.lg.requests import answer
from connectors.gateway.request_parts import body_of, caller_of, core_of, large, mapping, number, page_of
from core.refusals import unfit
from core.user_items import MOST_LABELS, Item
from schemas import MAX_METADATA


@large
async def items(request: Request) -> Response:
    """`GET`, `PUT` and `DELETE /store/items`."""
    if request.method == "GET":
        return await _get(request)
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    namespace, key = _labels(body.get("namespace"), "namespace"), _key(body.get("key"))
    if request.method == "DELETE":
        await core.items.delete(caller, namespace, key)
        return Response(status_code=204)
    if not isinstance(value := body.get("value"), dict):
        raise unfit("value", value, "an object")
    lifetime = None
    if (minutes := body.get("ttl")) is not None:
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes < 1e8:
            raise unfit("ttl", minutes, "a number of minutes above 0")
        lifetime = timedelta(minutes=minutes)
    await core.items.put(caller, namespace, key, value, lifetime=lifetime)
    return Response(status_code=204)


async def _get(request: Request) -> Response:
    core, caller, query = core_of(request), caller_of(request), request.query_params
    namespace, key = _labels(query.get("namespace", "").split("."), "namespace"), _key(query.get("key"))
    found = await core.items.get(caller, namespace, key)
    return answer(_shown(found) if found else None)


@large
async def search(request: Request) -> Response:
    """`POST /store/items/search`: by namespace and fields, newest first; with a query the best matches first."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    prefix = _labels(body.get("namespace_prefix") or [], "namespace_prefix")
    conditions, query = mapping(body.get("filter"), "filter", most=MAX_METADATA), body.get("query")
    limit, offset = page_of(body)
    bounds = {"limit": limit, "offset": offset, "max_bytes": ANSWER_BYTES}
    found = await core.items.search(caller, prefix, conditions, str(query) if query else None, **bounds)
    shown = [_shown(item) | ({} if score is None else {"score": score}) for item, score in found]
    return answer({"items": shown}, headers={} if found.next is None else {"X-Pagination-Next": str(found.next)})


@large
async def list_namespaces(request: Request) -> Response:
    """`POST /store/namespaces`."""
    core, caller, body = core_of(request), caller_of(request), await body_of(request)
    prefix, suffix = (_labels(body.get(name) or [], name) for name in ("prefix", "suffix"))
    depth = body.get("max_depth")
    limit, offset = page_of(body, default=100)
    found = await core.items.namespaces(
        caller,
        prefix=prefix,
        suffix=suffix,
        max_depth=None if depth is None else number(depth, "max_depth", 10, 100),
    )
    return answer({"namespaces": found[offset : offset + limit]})


def _labels(given: object, name: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(label, str) for label in given) or len(given) > MOST_LABELS:
        raise unfit(name, given, f"a list of at most {MOST_LABELS} strings")
    return given


def _key(given: object) -> str:
    if not isinstance(given, str):
        raise unfit("key", given, "a string")
    return given


def _shown(item: Item) -> dict[str, Any]:
    return {
        "namespace": list(item.namespace),
        "key": item.key,
        "value": item.value,
        "created_at": item.created_at.isoformat(),
        "updated_at": item.updated_at.isoformat(),
    }
