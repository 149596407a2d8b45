"""A worker: processor groups composed from the settings, run until the process is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING

from cauce.hosting import Served, hosting_of
from cauce.settings import Settings
from cauce.telemetry import log_fields, set_up_tracing
from connectors.models import OUTPUT_TOKENS, Detected, ModelCache, ModelChoice, detect_model
from schemas import GROUPS, AgentSettings, Output, RawRecord, Record, ServerTrouble, SettingsError, Tenant, User
from state import Stores, open_stores
from streams.contract import Processor, RuntimeView

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from connectors.arcade import ArcadeClient, Catalogue
    from connectors.graphs import Graphs

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

    if unknown := [g for g in groups if g not in GROUPS]:
        raise SettingsError(f"there is no group {unknown[0]!r}; there are {', '.join(GROUPS)}")
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
    arcade = _arcade(settings) if {"turns", "tools"} & set(groups) else None
    if "turns" in groups:
        from connectors.graphs import GraphThreads

        asyncio.get_running_loop().set_default_executor(GraphThreads(settings.graph_threads))
    graphs, served = await hosted_graphs(settings) if "turns" in groups else (None, Served())
    stores = open_stores(settings.state_url)
    if not await _unless_stopped(stop, _open(stores, settings, embedded=embedded)):
        return
    model = await _default_model(settings) if "turns" in groups else Detected(ModelChoice(settings.model), "")
    deltas = BestEffortPublisher(kafka, metrics)

    def stages(stage: str, seconds: float) -> None:
        metrics.stage_seconds.labels(stage).observe(seconds)

    worker = Worker(
        kafka,
        await _processors(groups, stores, arcade, graphs, model.choice, deltas.emit, stages),
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
            on_ready(worker.health_address, model, served)
        await stop.wait()
    log.info("stopping: finishing what runs, for at most %g s", options.grace)
    await worker.stop()
    await deltas.stop()
    if arcade:
        await arcade[0].close()
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


def _arcade(settings: Settings) -> tuple[ArcadeClient, Catalogue]:
    from connectors.arcade import ArcadeClient, Catalogue
    from connectors.arcade.client import DEFAULT_BASE_URL

    if settings.arcade_api_key is None:
        raise SettingsError(
            "no Arcade is known for the tools: set ARCADE_API_KEY, or run `cauce emulators` and set what it prints"
        )
    client = ArcadeClient(settings.arcade_url or DEFAULT_BASE_URL, settings.arcade_api_key.get_secret_value())
    return client, Catalogue(client.list_tools)


async def _processors(
    groups: Sequence[str],
    stores: Stores,
    arcade: tuple[ArcadeClient, Catalogue] | None,
    graphs: Graphs | None,
    default: ModelChoice,
    emit: Callable[[Output], None],
    observe: Callable[[str, float], None],
) -> dict[str, Processor]:
    from processors.settings_cache import TenantCache, UserCache

    tenants = TenantCache(stores.directory)
    made: dict[str, Processor] = {}
    if "turns" in groups:
        from processors.turns.agent import Agent
        from processors.turns.graph_leg import GraphLegs
        from processors.turns.leg import LegRunner
        from processors.turns.processor import TurnsProcessor
        from processors.turns.profile import Profiles

        assert arcade
        assert graphs
        profiles = Profiles(arcade[1], UserCache(stores.directory), model_for(default))
        legs = LegRunner(Agent(), profiles, emit)
        hosted = GraphLegs(graphs, stores.journal, stores.items, emit)
        made["turns"] = TurnsProcessor(stores.journal, stores.ledger, tenants, legs, hosted, observe=observe)
    if "tools" in groups:
        from processors.tools import ToolsProcessor

        assert arcade
        made["tools"] = ToolsProcessor(stores.ledger, tenants, arcade[1], arcade[0])
    if "audit" in groups:
        from processors.audit import AuditProcessor

        made["audit"] = AuditProcessor(stores.audit)
    return {group: _Logged(processor) for group, processor in made.items()}


async def hosted_graphs(settings: Settings) -> tuple[Graphs, Served]:
    """The graphs that this installation hosts, all of them loaded, and what is not served and why, which is logged, too. Raises
    `SettingsError` for a `langgraph.json` that cannot be read or served."""
    hosting = hosting_of(settings)
    graphs = hosting.graphs(threads=settings.graph_threads)
    missing = await graphs.missing()
    served = Served(tuple(n for n in graphs.names if n not in missing), (*missing.values(), *hosting.not_served))
    for words in served.not_served:
        log.error("not served: %s", words)
    return graphs, served


async def _default_model(settings: Settings) -> Detected:
    """The model of agents that name none."""
    if settings.model != "auto":
        return Detected(ModelChoice(settings.model, settings.model_url), "the settings say so")
    detected = await detect_model(os.environ, url=settings.model_url)
    log.info("model for agents that name none: %s (%s)", detected.choice.name, detected.why)
    return detected


def preload(groups: Sequence[str]) -> None:
    """Imports what the groups need, which takes seconds, while other parts of the system start."""
    modules = ["streams.worker", "streams.deltas", "connectors.arcade.client", "arcadepy", "state.sqlite"]
    if "turns" in groups:
        modules += [
            "connectors.graphs",
            "processors.turns.agent",
            "processors.turns.processor",
            "connectors.models.rules",
        ]
    for module in modules:
        import_module(module)


def model_for(
    default: ModelChoice, environment: Mapping[str, str] = os.environ
) -> Callable[[Tenant, AgentSettings], BaseChatModel]:
    """Gives agents their chat models; `default` is for those whose model is `auto`."""
    cache = ModelCache()

    def choose(tenant: Tenant, agent: AgentSettings) -> BaseChatModel:
        wanted = agent.model
        output = wanted.max_output_tokens
        if agent.limits.tokens < (output or OUTPUT_TOKENS):
            output = agent.limits.tokens  # no answer may be longer than what the whole run may use
        if wanted.name == "auto":
            return cache.get(None, replace(default, max_output_tokens=output) if output else default)
        key = None
        if wanted.api_key_env:
            key = environment.get(wanted.api_key_env)
            if not key:
                raise SettingsError(
                    f"the environment variable {wanted.api_key_env} of the agent's API key is not set where the worker "
                    "runs; set it and start the worker again, or name none with: cauce tenant set TENANT --api-key-env ''"
                )
        choice = ModelChoice(wanted.name, wanted.base_url, key, wanted.temperature, output)
        return cache.get(tenant.tenant_id, choice)

    return choose


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
