"""What a principal wants becomes a record: every message, decision, cancel and change of a thread is one on `chat.messages`,
every event from outside one on `external.events`. What is sent is known to readers from then on: a run as accepted, an answer as
taken (`OpenInput`), until its turn is in the journal."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core.audit_writer import SOURCE
from core.refusals import Limited
from core.request_context import current
from core.unread_inputs import UnreadInputs
from schemas import (
    AcceptedRun,
    ActiveRun,
    BadRecord,
    CancelRun,
    ChangeThread,
    Envelope,
    OpenInput,
    Output,
    ServerTrouble,
    ThreadKey,
    Unavailable,
    check_sizes,
)
from schemas.base import Body
from schemas.common.clock import utc_now
from state import Journal
from streams.kafka_servers import Kafka
from streams.record_producer import RecordProducer


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A record that is to be sent. `counts`: whether it is one of the inputs that its user may have unread."""

    output: Output
    key: ThreadKey
    input_id: str
    user_id: str
    counts: bool


class Ingress(RecordProducer):
    """Produces records with the ids of the request that they come of."""

    def __init__(self, bootstrap: Kafka, *, seconds: float, unread: UnreadInputs | None = None) -> None:
        """`seconds`: how long Kafka may take to acknowledge. `unread` counts, where somebody tells it what was read."""
        super().__init__(bootstrap, seconds=seconds)
        self._unread = unread

    async def produce(self, key: ThreadKey, record_id: str, body: Body) -> None:
        """Appends a record and returns when Kafka has it. Raises what `record` and `send_input` raise."""
        await self.send_input(self.record(key, record_id, body))

    def record(self, key: ThreadKey, record_id: str, body: Body) -> InputRecord:
        """The record that is to be sent: nothing may be promised before it is known that it can be.

        Raises `TooLarge` for one that its reader would refuse, and `Limited` where too much waits to be read already. A cancel or
        a deletion comes through in any case.
        """
        kind: str = body.TYPE  # type: ignore[attr-defined]
        user_id: str = body.user_id  # type: ignore[attr-defined]
        request = current()
        envelope = Envelope(
            record_id,
            kind,
            SOURCE,
            key.tenant_id,
            utc_now(),
            request.traceparent,
            request.request_id,
            request.credential or None,
            request.address or None,
        )
        made = Output.of(body.TOPICS[0], str(key), body, envelope)
        check_sizes([made])
        ends = isinstance(body, CancelRun) or (isinstance(body, ChangeThread) and body.action == "delete")
        record = InputRecord(made, key, record_id, user_id, counts=self._unread is not None and not ends)
        if self._unread is not None and record.counts:
            self._unread.require_room(key, user_id, len(made.value))
        return record

    async def send_input(self, record: InputRecord) -> None:
        """Appends a record and returns when Kafka has it. Raises what `send` raises, and `Limited` where too much waits now."""
        if self._unread is None or not record.counts:
            await self.send(record.output)
            return
        size = len(record.output.value)
        self._unread.require_room(record.key, record.user_id, size)
        self._unread.sent(record.key, record.user_id, record.input_id, size)
        try:
            await self.send(record.output)
        except (Unavailable, BadRecord):
            self._unread.not_sent(record.key, record.input_id)
            raise


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
        Limited,
    ):  # also where it may have been taken: a user who could not answer again would be stuck
        await withdrawn(journal, key, answer.input_id)
        raise


@asynccontextmanager
async def promised(journal: Journal, key: ThreadKey, run: AcceptedRun, *, repeated: bool) -> AsyncIterator[None]:
    """The run that the block sends for counts as accepted, unless sending fails. One that was promised before stays so."""
    await journal.accept(*key, run)
    try:
        yield
    except (Unavailable, BadRecord, Limited):  # where the outcome is not known it may have been taken
        if not repeated:
            await withdrawn(journal, key, run.run_id)
        raise


async def withdrawn(journal: Journal, key: ThreadKey, input_id: str) -> None:
    """Takes back what was promised of an input that was not sent."""
    with contextlib.suppress(ServerTrouble):  # the caller gets the more serious error; this resolves by itself
        await journal.withdraw(*key, input_id)
