"""A worker: processor groups composed from the settings, run until the process is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from importlib import import_module

from cauce.hosting import Served
from cauce.settings import Settings
from cauce.telemetry import log_fields, set_up_tracing
from cauce.worker_parts import WorkerParts
from connectors.models import Detected
from processors.groups import groups_of
from schemas import Output, RawRecord, Record, ServerTrouble, SettingsError, Tenant, User
from state import Stores, open_stores
from streams.contract import Group, Processor, RuntimeView

log = logging.getLogger("cauce.worker")

LIVE_OBJECTS = 50_000
"""Allocations between two runs of the cyclic garbage collector: with hundreds of turns in memory its default of 700 takes more
time than the turns (docs/performance.md)."""


async def run_worker(
    settings: Settings,
    groups: Sequence[str],
    *,
    embedded: bool = False,
    on_ready: Callable[[str, Detected, Served], None] = lambda health, model, served: None,
) -> None:
    """Runs the groups until SIGTERM or SIGINT, then stops gracefully.

    `settings` name Kafka and, for turns and tools, Arcade. `embedded` makes the owner's tenant at the first start.
    `on_ready` gets the health address once the worker has its slots, the model that agents get who name none, and
    what is hosted. Raises `SettingsError` for what does not fit.
    """
    from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

    from streams.deltas import BestEffortPublisher
    from streams.health import Health
    from streams.metrics import RuntimeMetrics
    from streams.options import RuntimeOptions
    from streams.worker import Worker

    wanted = groups_of(groups)
    kafka = settings.kafka
    if kafka is None:
        raise SettingsError("no Kafka is known: set CAUCE_KAFKA=host:port, or run everything here with: cauce up")
    stop = _stop_at_signals()
    registry = CollectorRegistry()
    for collector in (GCCollector, PlatformCollector, ProcessCollector):
        collector(registry=registry)
    metrics, health = RuntimeMetrics(registry), Health()
    options = RuntimeOptions(
        max_running=settings.max_running,
        tenant_running=settings.tenant_running,
        session_timeout_ms=settings.session_timeout_ms,
        grace=settings.grace_seconds,
        transactions_at_once=settings.transactions_at_once,
        publish_linger=settings.publish_linger_ms / 1000,
    )
    stores = open_stores(settings.state_url)
    deltas = BestEffortPublisher(kafka, metrics)
    parts = WorkerParts(settings, stores, metrics, deltas.emit)
    # What is wrong with the settings is said before a store is waited for.
    processors: dict[Group, Processor] = {group: _Logged(await group.make(parts)) for group in wanted}
    if not await _unless_stopped(stop, _open(stores, settings, embedded=embedded)):
        return
    worker = Worker(
        kafka,
        processors,
        attempts=stores.attempts,
        options=options,
        registry=registry,
        metrics=metrics,
        health=health,
        health_port=settings.health_port,
        instance_id=settings.instance_id,
        middlewares=set_up_tracing(settings, f"cauce-{'-'.join(groups)}"),
    )
    health.ready["store"] = _store_check(stores)
    await deltas.start()
    if await _unless_stopped(stop, worker.start()):
        gc.collect()
        gc.freeze()
        gc.set_threshold(LIVE_OBJECTS, 20, 50)
        log.info("groups %s run, health at %s", ", ".join(groups), worker.health_address)
        if await _unless_stopped(stop, _has_slots(worker, groups)):
            on_ready(worker.health_address, parts.model, parts.served)
        await stop.wait()
    log.info("stopping: finishing what runs, for at most %g s", options.grace)
    await worker.stop()
    await deltas.stop()
    await parts.close()
    await stores.close()


def _stop_at_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _unless_stopped(stop: asyncio.Event, work: object) -> bool:
    """Awaits `work` unless the worker is told to stop first; tells whether it was done."""
    working = asyncio.ensure_future(work)  # type: ignore[call-overload]
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    await asyncio.wait([working])
    return False


async def _open(stores: Stores, settings: Settings, *, embedded: bool) -> None:
    await stores.open()
    if settings.cassandra is None:
        await stores.migrate()  # a file on this machine: there is nobody to coordinate with
    elif missing := await stores.pending_migrations():
        raise SettingsError(f"the store lacks {len(missing)} migrations; apply them with: cauce state migrate")
    if embedded:
        await ensure_owner(stores, settings)


async def ensure_owner(stores: Stores, settings: Settings) -> None:
    """Makes the embedded system's tenant and user at the first start."""
    now = datetime.now(UTC)
    if await stores.directory.tenant(settings.tenant) is None:
        tenant = Tenant(tenant_id=settings.tenant, name=settings.tenant, created_at=now)
        await stores.directory.put_tenant(tenant, expected_version=0)
    if await stores.directory.user(settings.tenant, settings.user) is None:
        await stores.directory.put_user(User(tenant_id=settings.tenant, user_id=settings.user, created_at=now))


async def _has_slots(worker: object, groups: Sequence[str]) -> None:
    from streams.worker import Worker

    assert isinstance(worker, Worker)
    while not all(worker.runtime(group).ready for group in groups):
        await asyncio.sleep(0.02)


def _store_check(stores: Stores) -> Callable[[], Awaitable[str | None]]:
    async def check() -> str | None:
        try:
            await stores.ping()
        except ServerTrouble as error:
            return str(error)
        return None

    return check


def preload(groups: Sequence[str]) -> None:
    """Imports what the groups need, which takes seconds, while other parts of the system start."""
    modules = ["streams.worker", "streams.deltas", "state.sqlite"]
    for module in (*modules, *(name for group in groups_of(groups) for name in group.imports)):
        import_module(module)


class _Logged:
    """Puts the record's tenant, thread and trace into everything that its processing logs."""

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
