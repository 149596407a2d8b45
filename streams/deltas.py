"""Best-effort publishing: what may be lost, but must never make anybody wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas import Output
from schemas.metrics import RuntimeMetrics
from streams.kafka_clients import close_producer, enqueue, leave

log = logging.getLogger("cauce.streams")

QUEUE = 2000
"""Outputs kept while Kafka is slow; beyond that the oldest are dropped."""


class BestEffortPublisher:
    """Sends outputs without telling whether they arrived. `emit` may be called from any task of the loop."""

    def __init__(self, bootstrap: str, metrics: RuntimeMetrics, *, client_id: str = "cauce-deltas") -> None:
        self._bootstrap, self._client_id, self._metrics = bootstrap, client_id, metrics
        self._queue: deque[Output] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def emit(self, output: Output) -> None:
        """Queues an output; drops the oldest when too many wait."""
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self._metrics.deltas_dropped.inc()
        self._queue.append(output)
        self._wake.set()

    async def start(self) -> None:
        """Begins to send; a broker that is away does not matter."""
        self._task = asyncio.create_task(self._send_forever(), name="best-effort-publisher")

    async def stop(self) -> None:
        """Drops what waits."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _send_forever(self) -> None:
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                client_id=self._client_id,
                acks=1,
                linger_ms=5,
                request_timeout_ms=5000,
            )
            try:
                await producer.start()
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    while self._queue:
                        leave([await enqueue(producer, self._queue.popleft())])
            except Exception as error:  # whatever it is, the next output is another one
                if not isinstance(error, KafkaError):
                    log.warning("publishing deltas failed, beginning again: %r", error)
                await asyncio.sleep(1)
            finally:
                with contextlib.suppress(asyncio.CancelledError):
                    await close_producer(producer, 2)
