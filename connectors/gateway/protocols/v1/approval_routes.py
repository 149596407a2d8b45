"""Calls that wait for their user, and the decisions on them."""

from __future__ import annotations

from fastapi import APIRouter

from connectors.gateway.given_json import GivenJsonRoute
from connectors.gateway.protocols.v1 import models as m
from connectors.gateway.protocols.v1.parameters import LARGE, Caller, CallId, CoreIn, ThreadId
from core.refusals import unless_lost
from schemas import ThreadHead

router = APIRouter(tags=["approvals"], route_class=GivenJsonRoute)


@router.get("/approvals", dependencies=LARGE)
async def list_approvals(core: CoreIn, caller: Caller) -> m.ApprovalList:
    """Everything that waits for your decision."""
    found: list[m.ApprovalOut] = []
    for line in await core.threads.search(caller, condition="approval"):
        head = await unless_lost(core.threads.find(caller, line.thread_id))
        if head:
            found += waiting(line.thread_id, head)
    return m.ApprovalList(approvals=found)


@router.post("/threads/{thread_id}/approvals/{call_id}")
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
