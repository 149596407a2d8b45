"""The worker: processor groups composed from the settings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from cauce.running import WorkerNote
from cauce.service import Process, Service
from cauce.settings import Settings
from cauce.telemetry import log_fields
from processors.groups import groups_of
from schemas import Output, RawRecord, Record
from streams.contract import Group, Processor, RuntimeView

if TYPE_CHECKING:
    from streams.runtime_options import RuntimeOptions
    from streams.worker import Worker

log = logging.getLogger("cauce.worker")


def worker_service(names: Sequence[str]) -> Service:
    """A worker of the groups. Raises `SettingsError` for an unknown group."""
    groups = groups_of(names)
    return Service(
        name="worker",
        run=partial(_run, names),
        command=("work", *names),
        imports=(
            *("streams.worker", "streams.deltas", "state.sqlite"),
            *(module for group in groups for module in group.imports),
        ),
        health_port=lambda settings: settings.health_port,
        traced_as="-".join(names),
    )


async def _run(names: Sequence[str], process: Process) -> None:
    """The note names the default model and the hosted graphs. Under `cauce up`, creates the owner at the first start."""
    from cauce.worker_parts import WorkerParts
    from core.principal import OPERATOR
    from core.store_core import StoreCore
    from schemas.common.metrics import RuntimeMetrics
    from streams.deltas import BestEffortPublisher
    from streams.worker import Worker

    settings, stores = process.settings, process.stores
    kafka = settings.kafka_servers
    metrics, options = RuntimeMetrics(process.registry), _options(settings)
    deltas = BestEffortPublisher(kafka, metrics)
    parts = WorkerParts(settings, stores, metrics, deltas.emit)
    # Errors in the settings are reported before waiting for a store.
    processors: dict[Group, Processor] = {group: _Logged(await group.make(parts)) for group in groups_of(names)}
    async with process.opened():
        if process.supervised:
            await StoreCore(stores).ensure_owner(OPERATOR, settings.tenant, settings.user)
        worker = Worker(
            kafka,
            processors,
            attempts=stores.attempts,
            options=options,
            registry=process.registry,
            metrics=metrics,
            health=process.health,
            instance_id=settings.instance_id,
            middlewares=process.tracing.of_records(),
        )
        await deltas.start()
        try:
            await process.unless_stopped(worker.start())
            log.info("running groups %s, health at %s", ", ".join(names), process.health_address)
            await process.unless_stopped(_has_slots(worker, names))
            process.ready(
                WorkerNote(
                    title=f"Worker {'+'.join(names)}",
                    groups=tuple(names),
                    health=process.health_address,
                    model=parts.model.choice.name,
                    model_why=parts.model.why,
                    graphs=parts.served.graphs,
                    not_served=parts.served.not_served,
                )
            )
            await process.stop.wait()
        finally:
            log.info("stopping: finishing running records, for at most %g s", options.grace)
            await worker.stop()
            await deltas.stop()
            await parts.close()


def _options(settings: Settings) -> RuntimeOptions:
    from streams.runtime_options import RuntimeOptions

    return RuntimeOptions(
        max_running=settings.max_running,
        tenant_running=settings.tenant_running,
        session_timeout_ms=settings.session_timeout_ms,
        grace=settings.grace_seconds,
        transactions_at_once=settings.transactions_at_once,
        publish_linger=settings.publish_linger_ms / 1000,
    )


async def _has_slots(worker: Worker, groups: Sequence[str]) -> None:
    while not all(worker.runtime(group).ready for group in groups):
        await asyncio.sleep(0.02)


class _Logged:
    """Adds the record's tenant, thread and trace to everything logged while it is processed."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor

    async def process(self, record: Record) -> Sequence[Output]:
        """See `streams.Processor`."""
        with _fields(record):
            return await self._processor.process(record)

    async def give_up(self, record: Record, reason: str) -> Sequence[Output]:
        """See `streams.Processor`."""
        with _fields(record):
            return await self._processor.give_up(record, reason)

    def attach(self, runtime: RuntimeView) -> None:
        """See `streams.Processor`."""
        self._processor.attach(runtime)

    def arrived(self, raw: RawRecord) -> None:
        """See `streams.Processor`."""
        self._processor.arrived(raw)


def _fields(record: Record):  # type: ignore[no-untyped-def]
    trace = record.envelope.traceparent
    return log_fields(
        tenant=record.tenant_id,
        thread=record.thread.thread_id if record.thread else None,
        run=getattr(record.body, "run_id", None),
        trace=trace.split("-")[1] if trace and trace.count("-") == 3 else None,
    )


SERVICE = worker_service(("turns", "tools", "audit"))
"""The worker of `cauce up`."""
