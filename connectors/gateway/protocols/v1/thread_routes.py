"""Threads: made, found, changed, deleted, read and followed."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from connectors.gateway.answer_bytes import Allowance
from connectors.gateway.given_json import GivenJsonRoute, given_json
from connectors.gateway.permitted_routes import permitted
from connectors.gateway.protocols.v1 import models as m
from connectors.gateway.protocols.v1.event_frames import event_stream
from connectors.gateway.protocols.v1.parameters import (
    LARGE,
    SSE,
    Caller,
    CoreIn,
    LastEventId,
    Limit,
    Since,
    ThreadId,
    cursor_after,
    thread_after,
)
from core.costs import spend
from core.following.position import Position
from core.permissions import Operation
from core.refusals import Invalid, Refused, unfit
from schemas import ThreadCondition

router = APIRouter(tags=["threads"], route_class=GivenJsonRoute)
_AROUND = 500
"""Bytes of a thread in a list beside its metadata, about."""


@router.post("/threads", status_code=201, dependencies=[permitted(Operation.CHANGE_THREAD)])
async def create_thread(core: CoreIn, caller: Caller, body: m.ThreadIn) -> m.ThreadOut:
    """Create a thread."""
    thread_id, head = await core.threads.create(
        caller, thread_id=body.thread_id, title=body.title, metadata=body.metadata
    )
    return m.ThreadOut.of(core.threads.line(thread_id, head))


@router.get("/threads", dependencies=[*LARGE, permitted(Operation.READ)])
async def list_threads(
    core: CoreIn,
    caller: Caller,
    q: Annotated[str, Query(description="Text in the title.", max_length=200)] = "",
    status: ThreadCondition | None = None,
    metadata: Annotated[
        str | None, Query(description='JSON of pairs that must be equal, such as {"colour":"green"}.', max_length=2000)
    ] = None,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(description="`next` of the previous page.", max_length=400)] = None,
) -> m.ThreadPage:
    """Your threads, most recently changed first. A page may be shorter than `limit`, or empty, and there are more where it has a
    `next`."""
    page, allowance, following = list[m.ThreadOut](), Allowance(), None
    wanted: dict[str, Any] = {
        "text": q,
        "metadata": _metadata(metadata),
        "condition": status,
        "after": thread_after(cursor),
    }
    async with aclosing(core.threads.found(caller, **wanted)) as found:
        async for line in found:
            size = _AROUND + len(json.dumps(line.metadata))
            if len(page) >= limit or not allowance.takes(size):
                return m.ThreadPage(threads=page, next=following)
            page.append(m.ThreadOut.of(line))
            following = cursor_after(line)
    return m.ThreadPage(threads=page, next=None)


@router.get("/threads/{thread_id}", dependencies=[permitted(Operation.READ)])
async def get_thread(core: CoreIn, caller: Caller, thread_id: ThreadId) -> m.ThreadOut:
    """One thread."""
    return m.ThreadOut.of(core.threads.line(thread_id, await core.threads.get(caller, thread_id)))


@router.patch("/threads/{thread_id}", dependencies=[permitted(Operation.CHANGE_THREAD)])
async def change_thread(core: CoreIn, caller: Caller, thread_id: ThreadId, body: m.ThreadChange) -> m.ThreadOut:
    """Rename a thread or change its metadata."""
    head = await core.threads.change(caller, thread_id, title=body.title, metadata=body.metadata)
    return m.ThreadOut.of(core.threads.line(thread_id, head))


@router.delete("/threads/{thread_id}", status_code=204, dependencies=[permitted(Operation.CHANGE_THREAD)])
async def delete_thread(core: CoreIn, caller: Caller, thread_id: ThreadId) -> None:
    """Delete a thread and everything in it."""
    await core.threads.delete(caller, thread_id)


@router.get("/threads/{thread_id}/messages", dependencies=[*LARGE, permitted(Operation.READ)])
async def list_messages(
    core: CoreIn,
    caller: Caller,
    thread_id: ThreadId,
    before: Annotated[
        int | None, Query(ge=1, le=2**53, description="Only messages older than the one with this number.")
    ] = None,
    limit: Limit = 100,
) -> m.MessagePage:
    """Messages of a thread: the newest, or those before a given one."""
    found = await core.threads.messages(caller, thread_id, before=before, limit=limit)
    return m.MessagePage(messages=[m.MessageOut.of(s) for s in found], before=found.next)


@router.get(
    "/threads/{thread_id}/events",
    responses=SSE,
    response_class=StreamingResponse,
    dependencies=[permitted(Operation.READ)],
)
async def follow_thread(
    core: CoreIn, caller: Caller, thread_id: ThreadId, since: Since = None, last_event_id: LastEventId = None
) -> Response:
    """Follow a thread: its events from the beginning, or after `Last-Event-ID`, then live. The stream does not end."""
    await spend("stream")
    head = await core.threads.get(caller, thread_id)
    position = Position.parse(last_event_id or since).known(head.next_event - 1)
    return event_stream(core, caller, thread_id, position)


def _metadata(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = given_json(text, "metadata")
    except Refused as refused:
        raise Invalid("invalid", refused.detail) from refused
    if not isinstance(found, dict):
        raise unfit("metadata", found, "a JSON object")
    return found
