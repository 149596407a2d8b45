"""Answers to the open questions of a thread: decisions about tool calls, and values for interrupts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.changes import Changes
from core.costs import spend
from core.following.feed import stored_events
from core.ingress import Ingress, answer_to, sent
from core.permissions import Operation, require, require_request
from core.principal import Principal
from core.refusals import Conflict, checked
from core.run_views import RunView
from core.runs import Runs
from core.threads import Threads
from schemas import (
    ActiveRun,
    ApprovalDecision,
    ApprovalResolved,
    GraphInput,
    GraphRequest,
    InputRefused,
    ThreadHead,
    ThreadKey,
    ToolRequest,
    Topic,
    check_body,
    new_id,
)
from state import Journal


class Answering:
    """Accepts answers to open questions. The first answer to a question counts; a second one is refused."""

    def __init__(self, journal: Journal, ingress: Ingress, changes: Changes, threads: Threads, runs: Runs) -> None:
        self._journal, self._ingress, self._changes = journal, ingress, changes
        self._threads, self._runs = threads, runs

    async def resume(self, principal: Principal, thread_id: str, head: ThreadHead, request: GraphRequest) -> RunView:
        """Resumes the graph's run that is paused, with the answer to its interrupts where `request` has one.

        The answer is to what `head` shows: one that comes second, after another was taken, is none to the next question.
        """
        require_request(principal, request)
        await spend("answer")
        run = paused_run(head)
        body = checked(GraphInput, user_id=principal.user_id, request=addressed(head, request), agent_id=run.agent_id)
        key = ThreadKey(principal.tenant_id, thread_id)
        answer = answer_to(principal.user_id, run, new_id("in"), resumes=True)
        async with sent(self._journal, key, answer):
            await self._ingress.produce(key, answer.input_id, body)
        return await self._runs.get(principal, thread_id, run.run_id)

    async def decide(
        self, principal: Principal, thread_id: str, call_id: str, decision: Mapping[str, Any]
    ) -> ApprovalResolved:
        """Resolves one approval. Raises `Refused`, with the decision that was made, if it is no longer open."""
        require(principal, Operation.ANSWER)
        await spend("answer")
        head = await self._threads.get(principal, thread_id)
        body = checked(ApprovalDecision, user_id=principal.user_id, call_id=call_id, **decision)
        key = ThreadKey(principal.tenant_id, thread_id)
        if _waits(head, call_id):
            _check_edit(head, body)
            opened = answer_to(principal.user_id, paused_run(head), new_id("in"), decides=(call_id,))
            async with sent(self._journal, key, opened):
                answer = await self._changes.apply(principal, thread_id, head, body, input_id=opened.input_id)
        else:
            stored = (await self._journal.hydrate(*key, window=0)).head
            if stored is None or not _waits(stored, call_id):
                raise await self._gone(principal, thread_id, call_id)
            # Somebody has just decided: this one comes after it, and learns what it was.
            answer = await self._changes.apply(principal, thread_id, head, body)
        if isinstance(answer, InputRefused):
            raise await self._gone(principal, thread_id, call_id)
        assert isinstance(answer, ApprovalResolved)
        return answer

    async def decide_all(
        self, principal: Principal, thread_id: str, head: ThreadHead, decisions: Mapping[str, Mapping[str, Any]]
    ) -> RunView:
        """Sends decisions without waiting for them, all or none; the caller has looked that they are open. Returns their run."""
        require(principal, Operation.ANSWER)
        await spend("answer")
        run = paused_run(head)
        key = ThreadKey(principal.tenant_id, thread_id)
        bodies = [
            checked(ApprovalDecision, user_id=principal.user_id, call_id=call_id, **decision)
            for call_id, decision in decisions.items()
        ]
        for body in bodies:
            _check_edit(head, body)
        ids = [new_id("a") for _ in bodies]
        records = [self._ingress.record(key, record_id, body) for record_id, body in zip(ids, bodies, strict=True)]
        for record_id, body, record in zip(ids, bodies, records, strict=True):
            async with sent(self._journal, key, answer_to(principal.user_id, run, record_id, decides=(body.call_id,))):
                await self._ingress.send_input(record)
        return await self._runs.get(principal, thread_id, run.run_id)

    async def _gone(self, principal: Principal, thread_id: str, call_id: str) -> Conflict:
        detail = f"No approval is open for the call {call_id[:128]!r}."
        since: int | None = max(0, (await self._threads.get(principal, thread_id)).next_event - 501)
        key = (principal.tenant_id, thread_id)
        while since is not None:
            page = await self._journal.events(*key, since=since)
            for event in stored_events(page, key):
                if isinstance(event, ApprovalResolved) and event.call_id == call_id:
                    detail = f"It was settled before: {event.decision} by {event.by} at {event.at.isoformat()}."
                    return Conflict("approval_settled", detail, decision=event.decision, by=event.by)
            since = page.next
        return Conflict("approval_gone", detail)


def paused_run(head: ThreadHead) -> ActiveRun:
    """The run that an answer resumes. Raises `Conflict` where there is none."""
    if head.run is None:
        raise Conflict("no_such_interrupt", "Nothing waits for an answer in this thread.")
    return head.run


def _check_edit(head: ThreadHead, body: ApprovalDecision) -> None:
    """Raises `TooLarge` for new arguments with which the call could not be asked for."""
    asked = next((question for question in head.approvals if question.id == body.call_id), None)
    if asked is None or body.arguments is None or head.run is None:
        return
    request = ToolRequest(
        call_id=body.call_id,
        run_id=head.run.run_id,
        user_id=head.user_id,
        name=asked.name,
        arguments=body.arguments,
        approved_by=body.user_id,
    )
    check_body(Topic.TOOL_REQUESTS, request)


def _waits(head: ThreadHead, call_id: str) -> bool:
    return any(question.id == call_id for question in head.approvals)


def addressed(head: ThreadHead, request: GraphRequest) -> GraphRequest:
    """The request with the interrupts that its answer is to: those it names, or all that `head` shows."""
    if (command := request.command) is None or not command.resumes:
        return request
    shown = tuple(asked.id for asked in head.interrupts)
    named = isinstance(command.resume, Mapping) and bool(command.resume) and set(command.resume) <= set(shown)
    answers = tuple(command.resume) if named else shown
    return request.model_copy(update={"command": command.model_copy(update={"answers": answers})})
