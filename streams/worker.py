"""A worker: its Kafka clients, its processor groups on one FastStream broker, what makes it healthy.

FastStream brings its application, middlewares (Prometheus, OpenTelemetry) and parsing; ours are order by key, budgets,
transactions and drains, which it does not have. This is the one module that imports FastStream's private parts; the
version is pinned and `tests/streams/test_faststream_seam.py` holds what we rely on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from faststream import AckPolicy, StreamMessage
from faststream._internal.broker.registrator import Registrator
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage
from faststream.kafka.prometheus import KafkaPrometheusMiddleware
from faststream.kafka.schemas import Topic
from faststream.kafka.subscriber.config import KafkaSubscriberConfig, KafkaSubscriberSpecificationConfig
from faststream.kafka.subscriber.specification import KafkaSubscriberSpecification
from faststream.kafka.subscriber.usecase import DefaultSubscriber
from prometheus_client import CollectorRegistry

from schemas import Output, Record, SettingsError
from schemas.common.metrics import RuntimeMetrics
from schemas.common.recent import Backoff
from schemas.common.serving import ServingTask, again_and_again
from streams.contract import Group, Processor
from streams.group_runtime import GroupRuntime
from streams.handler import Attempts, RecordHandler
from streams.health import Health, LoopLag
from streams.kafka_clients import KafkaClients, ignore_broken_producers, quieten_aiokafka
from streams.kafka_servers import Kafka, new_faststream_broker, trouble_with
from streams.runtime_options import RuntimeOptions

log = logging.getLogger("cauce.streams")

MAX_POLL_AGE = 15.0
"""Seconds without a poll after which a worker counts as dead; it polls four times a second."""
MAX_LOOP_LAG = 5.0


class Worker:
    """Runs processor groups until it is stopped. `start` waits for Kafka as long as it takes."""

    def __init__(
        self,
        bootstrap: Kafka,
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
        self._broker = new_faststream_broker(
            bootstrap,
            consumer_only=True,  # producers and admin client are ours
            allow_auto_create_topics=False,
            logger=None,
            apply_types=False,
            middlewares=[KafkaPrometheusMiddleware(registry=registry), *middlewares],
            graceful_timeout=None,
        )
        self._subscribers: dict[str, SlotSubscriber] = {}
        self._alone = asyncio.Lock()
        self._health, self._lag = health, LoopLag(metrics)
        self._lag_task = ServingTask("the measurement of the event loop's lag", self._lag.run)

    async def start(self) -> None:
        """Connects, joins the groups. Records flow once the groups have given this worker its slots."""
        quieten_aiokafka()
        ignore_broken_producers(asyncio.get_running_loop())
        self._lag_task.start()
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
        await self._lag_task.stop()

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
                trouble = await trouble_with(self._bootstrap, error)
                if isinstance(trouble, SettingsError):  # whoever starts it should see it, and not only its log
                    raise trouble from error
                log.warning("%s; trying again", trouble)
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


@dataclass(frozen=True, slots=True)
class _InFastStream:
    """A record as it goes through FastStream: what its middlewares ask of a Kafka record, and our decoded one."""

    record: Record
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class SlotSubscriber(DefaultSubscriber):
    """Polls for a `GroupRuntime`. `process` runs one record through FastStream's pipeline to the processor."""

    runtime: GroupRuntime

    async def _run_consume_loop(self, consumer: AIOKafkaConsumer) -> None:
        # FastStream restarts what fails, but for what is cancelled or returns: then nothing would be read any more.
        name, work = f"the intake of {self.runtime.group}", self.runtime.consume
        intake = ServingTask(name, lambda: again_and_again(work, failed=self._intake_failed), may_return=True)
        intake.start()
        try:
            await asyncio.Event().wait()
        finally:
            await intake.stop()

    def _intake_failed(self, error: BaseException) -> None:
        log.error("group %s: the intake failed and begins again", self.runtime.group, exc_info=error)

    def current_consumer(self) -> AIOKafkaConsumer:
        """The consumer of this subscriber; it exists once the broker has started."""
        assert self.consumer is not None, "the broker has been started"
        return self.consumer

    async def process(self, record: Record) -> Sequence[Output]:
        """Runs the record through middlewares and handler; raises what the processor raises."""
        raw = record.raw
        message = _InFastStream(record, raw.topic, raw.partition, raw.offset, raw.timestamp_ms, raw.key, raw.value)
        response = await self.process_message(message)
        outputs: Sequence[Output] = response.body
        return outputs


async def _parse(message: _InFastStream) -> StreamMessage[Any]:
    """Replaces FastStream's parser, which fails on headers that are not UTF-8 and takes `reply_to` from strangers."""
    envelope = message.record.envelope
    headers = {"traceparent": envelope.traceparent} if envelope.traceparent else {}
    return KafkaMessage(
        raw_message=message,
        body=message.value or b"",
        headers=headers,
        content_type="application/json",
        message_id=envelope.id,
        correlation_id=envelope.id,
        consumer=None,  # type: ignore[arg-type]  # acknowledging is the slot's
    )


async def _decode(message: StreamMessage[Any]) -> Any:
    return message


def subscribe(
    broker: KafkaBroker,
    group: Group,
    processor: Processor,
    *,
    options: RuntimeOptions,
    make_runtime: Callable[[SlotSubscriber], GroupRuntime],
    group_instance_id: str | None = None,
) -> SlotSubscriber:
    """Registers a group with the broker. `make_runtime` gets the subscriber and gives the runtime that it polls for."""
    connection = {
        # The runtime seeks; where the log does not have an offset, it must know (`GroupRuntime._skip_deleted`).
        "auto_offset_reset": "none",
        "isolation_level": "read_committed",
        # Co-partitioned topics need the range assignor: it gives a member the same partition numbers of each.
        "partition_assignment_strategy": (RangePartitionAssignor,),
        "session_timeout_ms": options.session_timeout_ms,
        "heartbeat_interval_ms": max(300, options.session_timeout_ms // 10),
        "rebalance_timeout_ms": options.rebalance_timeout_ms,
        "max_poll_interval_ms": options.max_poll_interval_ms,
        "fetch_max_wait_ms": 500,
        "fetch_min_bytes": group.fetch_bytes,
        "metadata_max_age_ms": options.metadata_max_age_ms,
        "group_instance_id": group_instance_id,
    }
    config = KafkaSubscriberConfig(
        topics=[Topic.validate(t) for t in group.topics],
        group_id=group.name,
        _outer_config=broker.config,  # type: ignore[arg-type]
        _ack_policy=AckPolicy.MANUAL,
        no_reply=True,
        connection_args=connection,
    )
    calls: CallsCollection[Any] = CallsCollection()
    specification = KafkaSubscriberSpecification(
        _outer_config=broker.config,  # type: ignore[arg-type]
        calls=calls,
        specification_config=KafkaSubscriberSpecificationConfig(
            topics=config.topics, title_=group.name, description_=None, include_in_schema=True
        ),
    )
    subscriber = SlotSubscriber(config, specification, calls)
    subscriber.runtime = subscriber._listener = make_runtime(subscriber)
    Registrator.subscriber(broker, subscriber)

    async def handle(message: StreamMessage[Any]) -> Sequence[Output]:
        return await processor.process(message.raw_message.record)

    handle.__name__ = group.name
    subscriber(handle, parser=_parse, decoder=_decode)
    return subscriber
