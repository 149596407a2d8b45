"""Calls that wait for their user, and the decisions on them."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query

from connectors.gateway.answer_bytes import Allowance
from connectors.gateway.given_json import GivenJsonRoute
from connectors.gateway.permitted_routes import permitted
from connectors.gateway.protocols.v1 import models as m
from connectors.gateway.protocols.v1.parameters import (
    LARGE,
    Caller,
    CallId,
    CoreIn,
    Limit,
    ThreadId,
    cursor_after,
    thread_after,
)
from core.permissions import Operation
from core.refusals import unless_lost
from schemas import ThreadHead

router = APIRouter(tags=["approvals"], route_class=GivenJsonRoute)
_AROUND = 500
"""Bytes of an approval beside its arguments, about."""


@router.get("/approvals", dependencies=[*LARGE, permitted(Operation.READ)])
async def list_approvals(
    core: CoreIn,
    caller: Caller,
    limit: Limit = 500,
    cursor: Annotated[str | None, Query(description="`next` of the previous page.", max_length=400)] = None,
) -> m.ApprovalList:
    """Everything that waits for your decision, by threads, the last changed first. There is more where it has a `next`."""
    found, allowance, following = list[m.ApprovalOut](), Allowance(), None
    async with aclosing(core.threads.found(caller, condition="approval", after=thread_after(cursor))) as lines:
        async for line in lines:
            head = await unless_lost(core.threads.find(caller, line.thread_id))
            asked = waiting(line.thread_id, head) if head else []
            size = sum(_AROUND + len(json.dumps(one.arguments)) for one in asked)
            if asked and (len(found) >= limit or not allowance.takes(size)):
                return m.ApprovalList(approvals=found, next=following)
            found += asked
            following = cursor_after(line)
    return m.ApprovalList(approvals=found, next=None)


@router.post("/threads/{thread_id}/approvals/{call_id}", dependencies=[permitted(Operation.ANSWER)])
async def decide(
    core: CoreIn, caller: Caller, thread_id: ThreadId, call_id: CallId, body: m.DecisionIn
) -> m.DecisionOut:
    """Decide on a waiting call. When two people decide, the first decision counts, and the second gets a 409."""
    settled = await core.answering.decide(caller, thread_id, call_id, body.model_dump())
    return m.DecisionOut(call_id=call_id, decision=settled.decision, by=settled.by, at=settled.at)


def waiting(thread_id: str, head: ThreadHead) -> list[m.ApprovalOut]:
    """The calls of a thread that wait for its user."""
    return [
        m.ApprovalOut(
            thread_id=thread_id,
            run_id=head.run.run_id if head.run else "",
            call_id=asked.id,
            tool=asked.name,
            arguments=asked.value,
            concerns=dict(asked.concerns),
            last_event=head.next_event - 1,
        )
        for asked in head.approvals
    ]
