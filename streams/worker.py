"""A worker: its Kafka clients, its processor groups on one FastStream broker, what makes it healthy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence

from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker
from faststream.kafka.prometheus import KafkaPrometheusMiddleware
from prometheus_client import CollectorRegistry

from schemas.common.metrics import RuntimeMetrics
from schemas.common.recent import Backoff
from streams.contract import Group, Processor
from streams.group_runtime import GroupRuntime
from streams.handler import Attempts, RecordHandler
from streams.health import Health, LoopLag
from streams.kafka_clients import KafkaClients, ignore_broken_producers, quieten_aiokafka
from streams.runtime_options import RuntimeOptions
from streams.subscriber import SlotSubscriber, subscribe

log = logging.getLogger("cauce.streams")

MAX_POLL_AGE = 15.0
"""Seconds without a poll after which a worker counts as dead; it polls four times a second."""
MAX_LOOP_LAG = 5.0


class Worker:
    """Runs processor groups until it is stopped. `start` waits for Kafka as long as it takes."""

    def __init__(
        self,
        bootstrap: str,
        processors: Mapping[Group, Processor],
        *,
        attempts: Attempts,
        options: RuntimeOptions,
        registry: CollectorRegistry,
        metrics: RuntimeMetrics,
        health: Health,
        instance_id: str | None = None,
        middlewares: Sequence[object] = (),
    ) -> None:
        self._bootstrap, self._processors, self._attempts = bootstrap, processors, attempts
        self._options, self._metrics, self._instance_id = options, metrics, instance_id
        self._clients = KafkaClients(bootstrap, options)
        self._broker = KafkaBroker(
            bootstrap,
            consumer_only=True,  # producers and admin client are ours
            allow_auto_create_topics=False,
            logger=None,
            apply_types=False,
            middlewares=[KafkaPrometheusMiddleware(registry=registry), *middlewares],  # type: ignore[list-item]
            graceful_timeout=None,
        )
        self._subscribers: dict[str, SlotSubscriber] = {}
        self._alone = asyncio.Lock()
        self._health, self._lag = health, LoopLag(metrics)
        self._lag_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connects, joins the groups. Records flow once the groups have given this worker its slots."""
        quieten_aiokafka()
        ignore_broken_producers(asyncio.get_running_loop())
        self._lag_task = asyncio.create_task(self._lag.run(), name="event-loop-lag")
        self._health.alive["event loop"] = self._loop_runs
        await self._until_kafka_answers()
        await self._broker.start()
        for spec, processor in self._processors.items():
            group = spec.name
            self._subscribers[group] = self._subscriber(spec, processor)
            self._health.alive[f"group {group}"] = self._poll_check(group)
            self._health.ready[f"group {group}"] = self._slots_check(group)
            self._health.ready[f"reading of {group}"] = self._reading_check(group)
        await asyncio.gather(*(s.start() for s in self._subscribers.values()))

    async def stop(self) -> None:
        """Graceful stop: takes nothing in, finishes what runs within the grace, publishes, leaves the groups."""
        await asyncio.gather(*(s.runtime.stop(self._options.grace) for s in self._subscribers.values()))
        await asyncio.gather(*(s.stop() for s in self._subscribers.values()), return_exceptions=True)
        with contextlib.suppress(Exception):
            await self._broker.stop()
        await self._clients.stop()
        if self._lag_task:
            self._lag_task.cancel()

    def runtime(self, group: str) -> GroupRuntime:
        """The lanes and slots of a group."""
        return self._subscribers[group].runtime

    def _subscriber(self, group: Group, processor: Processor) -> SlotSubscriber:
        def make_runtime(subscriber: SlotSubscriber) -> GroupRuntime:
            handler = RecordHandler(
                group.name,
                processor,
                subscriber.process,
                attempts=self._attempts,
                options=self._options,
                metrics=self._metrics,
                alone=self._alone,
            )
            return GroupRuntime(
                group,
                processor,
                handler,
                consumer=subscriber.current_consumer,
                clients=self._clients,
                options=self._options,
                metrics=self._metrics,
            )

        instance = f"{self._instance_id}-{group.name}" if self._instance_id else None
        return subscribe(
            self._broker,
            group,
            processor,
            options=self._options,
            make_runtime=make_runtime,
            group_instance_id=instance,
        )

    async def _until_kafka_answers(self) -> None:
        backoff = Backoff(self._options.backoff, self._options.max_backoff)
        while True:
            try:
                await self._clients.start()
                return
            except KafkaError as error:
                await self._clients.stop()
                log.warning("Kafka at %s does not answer yet (%s)", self._bootstrap, error)
                await asyncio.sleep(backoff.next())

    async def _loop_runs(self) -> str | None:
        lag = self._lag.worst
        return f"the event loop was blocked for {lag:.1f} s" if lag > MAX_LOOP_LAG else None

    def _poll_check(self, group: str):  # type: ignore[no-untyped-def]
        async def check() -> str | None:
            age = time.monotonic() - self.runtime(group).last_poll
            return f"has not polled for {age:.0f} s" if age > MAX_POLL_AGE else None

        return check

    def _slots_check(self, group: str):  # type: ignore[no-untyped-def]
        async def check() -> str | None:
            return None if self.runtime(group).ready else "waits for its slots"

        return check

    def _reading_check(self, group: str):  # type: ignore[no-untyped-def]
        async def check() -> str | None:
            return self.runtime(group).trouble()

        return check
