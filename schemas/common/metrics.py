"""Every metric of an installation: name, kind, labels, meaning. `cauce metrics --out docs/operations.md` writes their table.

A process makes those of its class in its registry. Times are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Kind = TypeVar("Kind", Counter, Gauge, Histogram)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SECONDS_OF_A_RUN = (*SECONDS, 120)


@dataclass(frozen=True)
class Metric(Generic[Kind]):
    """A definition in a class of metrics; an object of the class has the metric itself instead."""

    kind: type[Kind]
    name: str
    about: str
    labels: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def shown_name(self) -> str:
        """As `/metrics` has it."""
        return f"{self.name}_total" if self.kind is Counter else self.name

    @overload
    def __get__(self, made: None, owner: type) -> Metric[Kind]: ...
    @overload
    def __get__(self, made: object, owner: type) -> Kind: ...
    def __get__(self, made: object | None, owner: type) -> Any:
        return self

    def make(self, registry: CollectorRegistry) -> Kind:
        """The metric itself."""
        return self.kind(self.name, self.about, self.labels, registry=registry, **dict(self.options))


def _counter(name: str, about: str, *labels: str) -> Metric[Counter]:
    return Metric(Counter, name, about, labels)


def _gauge(name: str, about: str, *labels: str) -> Metric[Gauge]:
    return Metric(Gauge, name, about, labels)


def _seconds(name: str, about: str, *labels: str, buckets: tuple[float, ...] = SECONDS_OF_A_RUN) -> Metric[Histogram]:
    return Metric(Histogram, name, about, labels, (("buckets", buckets),))


class Metrics:
    """The metrics of a class, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        for attribute, definition in vars(type(self)).items():
            if isinstance(definition, Metric):
                self.__dict__[attribute] = definition.make(registry)


class ServiceMetrics(Metrics):
    """Metrics of all services."""

    items_failed = _counter(
        "cauce_items_failed", "Records and other items that a task which serves everybody has passed over", "task"
    )
    tasks_ended = _counter(
        "cauce_tasks_ended", "Tasks that serve everybody and have ended although nobody stopped them", "task"
    )


class RuntimeMetrics(Metrics):
    """Metrics of workers."""

    received = _counter("cauce_records_received", "Records taken into lanes", "group", "topic")
    lane_seconds = _seconds("cauce_lane_wait_seconds", "From intake until processing starts", "group")
    process_seconds = _seconds("cauce_process_seconds", "Processing one record, retries included", "group")
    publish_seconds = _seconds(
        "cauce_publish_seconds", "From the end of processing until the offset and the outputs are committed", "group"
    )
    stage_seconds = _seconds("cauce_turn_stage_seconds", "A part of processing a turn: hydrate, model, commit", "stage")
    age_seconds = _seconds(
        "cauce_record_age_seconds", "From the producer's clock until the record is finished", "group"
    )
    running = _gauge("cauce_records_running", "Records being processed", "group")
    queued = _gauge("cauce_records_queued", "Records waiting in lanes", "group")
    oldest_seconds = _gauge(
        "cauce_oldest_record_seconds", "Age of the oldest record taken in and not finished", "group"
    )
    slots = _gauge("cauce_slots_open", "Slots owned and open", "group")
    slot_open_seconds = _seconds("cauce_slot_open_seconds", "Taking a slot over: fence, read offsets", "group")
    transaction_seconds = _seconds("cauce_transaction_seconds", "One Kafka transaction of a slot", "group")
    transaction_failures = _counter("cauce_transaction_failures", "Transactions that failed", "group", "error")
    committed_records = _counter("cauce_records_committed", "Records whose offsets are committed", "group")
    retries = _counter("cauce_retries", "Records processed again", "group", "reason")
    dead_letters = _counter("cauce_dead_letters", "Records given up", "group", "topic")
    polls_failed = _counter(
        "cauce_polls_failed", "Polls that raised; what they had taken is read again", "group", "error"
    )
    unreadable = _gauge("cauce_partitions_unreadable", "Partitions whose next record cannot be read", "group")
    unreadable_given_up = _counter(
        "cauce_unreadable_given_up", "Batches that could not be read and became dead letters", "group", "topic"
    )
    offsets_lost = _counter(
        "cauce_offsets_lost", "Offsets that were deleted from their topic before they were read", "group", "topic"
    )
    intake_stopped = _counter("cauce_intake_stopped", "Partitions paused because a budget was full", "group", "budget")
    deltas_dropped = _counter("cauce_deltas_dropped", "Deltas not sent: the queue was full")
    loop_lag = _gauge("cauce_event_loop_lag_seconds", "How late the event loop ran a timer")


class GatewayMetrics(Metrics):
    """Metrics of gateways."""

    requests = _counter("cauce_gateway_requests", "Requests that were answered", "api", "method", "status")
    seconds = _seconds(
        "cauce_gateway_first_byte_seconds", "From a request until its answer begins", "api", buckets=SECONDS
    )
    streams = _gauge("cauce_gateway_streams", "Streams that are open")
    cut = _counter(
        "cauce_gateway_streams_cut",
        "Streams that the gateway ended before their end; slow_reader, expired, or the code of a problem",
        "reason",
    )


def all_metrics() -> dict[str, list[Metric[Any]]]:
    """The definitions, by what their class is of."""
    return {
        (of.__doc__ or "").removeprefix("Metrics of ").rstrip("."): [
            one for one in vars(of).values() if isinstance(one, Metric)
        ]
        for of in Metrics.__subclasses__()
    }
