"""What a principal wants becomes a record: every message, decision, cancel and change of a thread is one on `chat.messages`,
every event from outside one on `external.events`. What is sent is known to readers from then on: a run as accepted, an answer as
taken (`OpenInput`), until its turn is in the journal."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from core.principal import Principal
from core.request_context import current
from schemas import (
    AcceptedRun,
    ActiveRun,
    BadRecord,
    Envelope,
    OpenInput,
    Output,
    ServerTrouble,
    ThreadKey,
    Unavailable,
    audit_output,
    check_sizes,
    new_id,
)
from schemas.base import Body
from schemas.common.clock import utc_now
from state import Journal
from streams.record_producer import RecordProducer

SOURCE = "cauce/gateway"


class Ingress(RecordProducer):
    """Produces records with the ids of the request that they come of."""

    async def produce(self, key: ThreadKey, record_id: str, body: Body) -> None:
        """Appends a record and returns when Kafka has it. Raises what `record` and `send` raise."""
        await self.send(self.record(key, record_id, body))

    async def audit(self, by: Principal, action: str, **fields: Any) -> None:
        """Appends what `by` did to the audit trail; `fields` are those of `AuditEvent`. Raises what `send` raises."""
        made = audit_output(
            tenant_id=by.tenant_id,
            at=utc_now(),
            action=action,
            actor=f"user:{by.user_id}",
            source=SOURCE,
            id_parts=(new_id("au"),),
            traceparent=current().traceparent,
            **fields,
        )
        await self.send(made)

    @staticmethod
    def record(key: ThreadKey, record_id: str, body: Body) -> Output:
        """The record that is to be sent. Raises `TooLarge` for one that its reader would refuse: nothing may be promised
        before that is known."""
        kind: str = body.TYPE  # type: ignore[attr-defined]
        request = current()
        envelope = Envelope(record_id, kind, SOURCE, key.tenant_id, utc_now(), request.traceparent, request.request_id)
        made = Output.of(body.TOPICS[0], str(key), body, envelope)
        check_sizes([made])
        return made


def answer_to(
    user_id: str, run: ActiveRun, input_id: str, *, resumes: bool = False, decides: tuple[str, ...] = ()
) -> OpenInput:
    """What readers are to know of an answer to this run."""
    return OpenInput(
        input_id=input_id,
        run_id=run.run_id,
        user_id=user_id,
        agent_id=run.agent_id,
        at=utc_now(),
        resumes=resumes,
        decides=decides,
    )


@asynccontextmanager
async def sent(journal: Journal, key: ThreadKey, answer: OpenInput) -> AsyncIterator[None]:
    """What the block sends counts as taken, unless sending it fails."""
    await journal.announce(*key, answer)
    try:
        yield
    except (
        ServerTrouble,
        BadRecord,
    ):  # also where it may have been taken: a user who could not answer again would be stuck
        await withdrawn(journal, key, answer.input_id)
        raise


@asynccontextmanager
async def promised(journal: Journal, key: ThreadKey, run: AcceptedRun, *, repeated: bool) -> AsyncIterator[None]:
    """The run that the block sends for counts as accepted, unless sending fails. One that was promised before stays so."""
    await journal.accept(*key, run)
    try:
        yield
    except (Unavailable, BadRecord):  # where the outcome is not known it may have been taken
        if not repeated:
            await withdrawn(journal, key, run.run_id)
        raise


async def withdrawn(journal: Journal, key: ThreadKey, input_id: str) -> None:
    """Takes back what was promised of an input that was not sent."""
    with contextlib.suppress(ServerTrouble):  # the caller gets the more serious error; this resolves by itself
        await journal.withdraw(*key, input_id)
