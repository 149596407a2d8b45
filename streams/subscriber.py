"""The seam to FastStream: a subscriber that polls through our lanes and slots.

FastStream brings its application, middlewares (Prometheus, OpenTelemetry) and parsing; ours are order by key, budgets,
transactions and drains, which it does not have. This is the one module that imports FastStream's private parts; the
version is pinned and `tests/streams/test_subscriber_seam.py` holds what we rely on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from faststream import AckPolicy, StreamMessage
from faststream._internal.broker.registrator import Registrator
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage
from faststream.kafka.schemas import Topic
from faststream.kafka.subscriber.config import KafkaSubscriberConfig, KafkaSubscriberSpecificationConfig
from faststream.kafka.subscriber.specification import KafkaSubscriberSpecification
from faststream.kafka.subscriber.usecase import DefaultSubscriber

from schemas import Output, Record
from streams.contract import Group, Processor
from streams.group_runtime import GroupRuntime
from streams.runtime_options import RuntimeOptions


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
        await self.runtime.consume()

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
