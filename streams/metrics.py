"""Every metric of the runtime: its name, labels and meaning."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class RuntimeMetrics:
    """The runtime's metrics in one registry; times in seconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.received = Counter(
            "cauce_records_received", "Records taken into lanes", ["group", "topic"], registry=registry
        )
        self.lane_seconds = Histogram(
            "cauce_lane_wait_seconds",
            "From intake until processing starts",
            ["group"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.process_seconds = Histogram(
            "cauce_process_seconds",
            "Processing one record, retries included",
            ["group"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.publish_seconds = Histogram(
            "cauce_publish_seconds",
            "From the end of processing until the offset and the outputs are committed",
            ["group"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "cauce_turn_stage_seconds",
            "A part of processing a turn: hydrate, model, commit",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.age_seconds = Histogram(
            "cauce_record_age_seconds",
            "From the producer's clock until the record is finished",
            ["group"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.running = Gauge("cauce_records_running", "Records being processed", ["group"], registry=registry)
        self.queued = Gauge("cauce_records_queued", "Records waiting in lanes", ["group"], registry=registry)
        self.oldest_seconds = Gauge(
            "cauce_oldest_record_seconds",
            "Age of the oldest record taken in and not finished",
            ["group"],
            registry=registry,
        )
        self.slots = Gauge("cauce_slots_open", "Slots owned and open", ["group"], registry=registry)
        self.slot_open_seconds = Histogram(
            "cauce_slot_open_seconds",
            "Taking a slot over: fence, read offsets",
            ["group"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.transaction_seconds = Histogram(
            "cauce_transaction_seconds",
            "One Kafka transaction of a slot",
            ["group"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.transaction_failures = Counter(
            "cauce_transaction_failures", "Transactions that failed", ["group", "error"], registry=registry
        )
        self.committed_records = Counter(
            "cauce_records_committed", "Records whose offsets are committed", ["group"], registry=registry
        )
        self.retries = Counter("cauce_retries", "Records processed again", ["group", "reason"], registry=registry)
        self.dead_letters = Counter("cauce_dead_letters", "Records given up", ["group", "topic"], registry=registry)
        self.polls_failed = Counter(
            "cauce_polls_failed",
            "Polls that raised; what they had taken is read again",
            ["group", "error"],
            registry=registry,
        )
        self.unreadable = Gauge(
            "cauce_partitions_unreadable", "Partitions whose next record cannot be read", ["group"], registry=registry
        )
        self.unreadable_given_up = Counter(
            "cauce_unreadable_given_up",
            "Batches that could not be read and became dead letters",
            ["group", "topic"],
            registry=registry,
        )
        self.offsets_lost = Counter(
            "cauce_offsets_lost",
            "Offsets that were deleted from their topic before they were read",
            ["group", "topic"],
            registry=registry,
        )
        self.intake_stopped = Counter(
            "cauce_intake_stopped",
            "Partitions paused because a budget was full",
            ["group", "budget"],
            registry=registry,
        )
        self.deltas_dropped = Counter("cauce_deltas_dropped", "Deltas not sent: the queue was full", registry=registry)
        self.loop_lag = Gauge("cauce_event_loop_lag_seconds", "How late the event loop ran a timer", registry=registry)
