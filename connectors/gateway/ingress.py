"""From HTTP to Kafka: every message, decision, cancel and change of a thread is a record on `chat.messages`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from connectors.gateway.request_context import current
from schemas import Envelope, OutcomeUnknown, Output, ThreadKey, TooLarge, Topic, Unavailable, check_sizes
from schemas.base import Body
from streams.kafka_clients import close_producer, enqueue, start_producer

log = logging.getLogger("cauce.gateway")

SOURCE = "cauce/gateway"
_RETRY = 1.0


class Ingress:
    """Produces records. `start` returns at once: while Kafka is away, `produce` raises `Unavailable`."""

    def __init__(self, bootstrap: str, *, seconds: float) -> None:
        """`seconds`: how long Kafka may take to acknowledge a record."""
        self._bootstrap, self._seconds = bootstrap, seconds
        self._producer: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to connect."""
        self._connecting = asyncio.create_task(self._connect(), name="gateway-ingress")

    async def stop(self) -> None:
        """Lets go of the connection."""
        if self._connecting:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._producer:
            await close_producer(self._producer)

    @property
    def ready(self) -> bool:
        """Whether there is a connection to produce with."""
        return self._producer is not None

    async def produce(self, key: ThreadKey, record_id: str, body: Body) -> None:
        """Appends a record and returns when Kafka has it. Raises what `record` and `send` raise."""
        await self.send(self.record(key, record_id, body))

    @staticmethod
    def record(key: ThreadKey, record_id: str, body: Body) -> Output:
        """The record that is to be sent. Raises `TooLarge` for one that its reader would refuse: nothing may be promised
        before that is known."""
        kind: str = body.TYPE  # type: ignore[attr-defined]
        request = current()
        envelope = Envelope(
            record_id, kind, SOURCE, key.tenant_id, datetime.now(UTC), request.traceparent, request.request_id
        )
        made = Output.of(Topic.CHAT_MESSAGES, str(key), body, envelope)
        check_sizes([made])
        return made

    async def send(self, record: Output) -> None:
        """Appends a record and returns when Kafka has it.

        Raises `Unavailable` when it was not sent, `OutcomeUnknown` when Kafka did not acknowledge in time: it may have the
        record, or get it yet.
        """
        producer = self._producer
        if producer is None:
            raise Unavailable(f"Kafka at {self._bootstrap} does not answer")
        try:
            async with asyncio.timeout(self._seconds):
                await (await enqueue(producer, record))
        except MessageSizeTooLargeError as error:
            raise TooLarge("it is too large for this installation's Kafka (message.max.bytes)") from error
        except TimeoutError as error:
            raise OutcomeUnknown("Kafka did not acknowledge in time") from error
        except KafkaError as error:
            log.warning("producing failed: %r", error)
            await self._replace(producer)
            raise OutcomeUnknown(f"Kafka refused: {error}") from error

    async def _connect(self) -> None:
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                enable_idempotence=True,
                linger_ms=0,
                retry_backoff_ms=50,
                request_timeout_ms=15_000,
                metadata_max_age_ms=10_000,
            )
            try:
                await start_producer(producer)
            except KafkaError as error:
                log.warning("Kafka at %s does not answer yet (%s)", self._bootstrap, error)
                await asyncio.sleep(_RETRY)
                continue
            self._producer = producer
            return

    async def _replace(self, broken: AIOKafkaProducer) -> None:
        if self._producer is broken:
            self._producer = None
            self._connecting = asyncio.create_task(self._connect(), name="gateway-ingress")
            await close_producer(broken, 2)
