"""Producing records from outside of the runtime: one idempotent producer that finds Kafka again after every trouble."""

from __future__ import annotations

import asyncio
import logging

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from schemas import OutcomeUnknown, Output, TooLarge, Unavailable
from streams.kafka_clients import close_producer, enqueue, start_producer
from streams.kafka_servers import Kafka, answering, new_producer
from streams.reconnecting import Reconnecting

log = logging.getLogger("cauce.streams")


class RecordProducer(Reconnecting):
    """Sends one record at a time, each acknowledged. `start` returns immediately; `connect` waits for the connection."""

    def __init__(self, bootstrap: Kafka, *, seconds: float) -> None:
        """`seconds`: how long Kafka may take to acknowledge a record."""
        super().__init__(f"connecting to Kafka at {bootstrap}")
        self._bootstrap, self._seconds = bootstrap, seconds
        self._producer: AIOKafkaProducer | None = None

    async def connect(self) -> None:
        """Connects now. Raises `Unavailable` when Kafka does not answer."""
        producer = self._make()
        async with answering(self._bootstrap):
            await start_producer(producer)
        self._producer = producer

    async def stop(self) -> None:
        """Closes the connection."""
        await super().stop()
        if self._producer:
            await close_producer(self._producer)

    @property
    def ready(self) -> bool:
        """Whether there is a connection to produce with."""
        return self._producer is not None

    async def send(self, record: Output) -> None:
        """Appends a record and returns when Kafka has it.

        Raises `Unavailable` when it was not sent, `OutcomeUnknown` when Kafka did not acknowledge in time: it may have the
        record, or get it yet; `TooLarge` for one that Kafka will never take.
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

    def _make(self) -> AIOKafkaProducer:
        return new_producer(
            bootstrap_servers=self._bootstrap,
            enable_idempotence=True,
            linger_ms=0,
            retry_backoff_ms=50,
            request_timeout_ms=15_000,
            metadata_max_age_ms=10_000,
        )

    async def _work(self) -> None:
        await self.connect()

    async def _replace(self, broken: AIOKafkaProducer) -> None:
        if self._producer is broken:
            self._producer = None
            await self.start()
            await close_producer(broken, 2)
