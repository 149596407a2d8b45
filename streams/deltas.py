"""Best-effort publishing: what may be lost, but must never make anybody wait."""

from __future__ import annotations

import asyncio
from collections import deque

from aiokafka.errors import KafkaError

from schemas import Output
from schemas.common.metrics import RuntimeMetrics
from streams.kafka_clients import close_producer, enqueue, leave
from streams.kafka_servers import Kafka, new_producer
from streams.reconnecting import Reconnecting

QUEUE = 2000
"""Outputs kept while Kafka is slow; beyond that the oldest are dropped."""


class BestEffortPublisher(Reconnecting):
    """Sends outputs without saying whether they arrived; `stop` drops what waits. `emit` may be called from any task of the
    loop."""

    def __init__(self, bootstrap: Kafka, metrics: RuntimeMetrics, *, client_id: str = "cauce-deltas") -> None:
        super().__init__("publishing deltas")
        self._bootstrap, self._client_id, self._metrics = bootstrap, client_id, metrics
        self._queue: deque[Output] = deque()
        self._wake = asyncio.Event()

    def emit(self, output: Output) -> None:
        """Queues an output; drops the oldest when too many wait."""
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self._metrics.deltas_dropped.inc()
        self._queue.append(output)
        self._wake.set()

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, KafkaError):  # a broker that is away does not matter
            super()._failed(error)

    async def _work(self) -> None:
        producer = new_producer(
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
        finally:
            await close_producer(producer, 2)
