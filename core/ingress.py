"""What a principal wants becomes a record: every message, decision, cancel and change of a thread is one on `chat.messages`,
every event from outside one on `external.events`."""

from __future__ import annotations

from core.request_context import current
from schemas import Envelope, Output, ThreadKey, check_sizes
from schemas.base import Body
from schemas.common.clock import utc_now
from streams.record_producer import RecordProducer

SOURCE = "cauce/gateway"


class Ingress(RecordProducer):
    """Produces records with the ids of the request that they come of."""

    async def produce(self, key: ThreadKey, record_id: str, body: Body) -> None:
        """Appends a record and returns when Kafka has it. Raises what `record` and `send` raise."""
        await self.send(self.record(key, record_id, body))

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
