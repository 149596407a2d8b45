"""A service: a process of Cauce with stores, metrics, a health page, traces, logs and a graceful shutdown.

What is specific to a service is one function, `run`: it prepares, opens the stores for a block (`Process.opened`), reports
that it is `ready`, and waits for `stop`. `run_here` makes this process such a service.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from cauce.event_loop import exit_after
from cauce.exit_codes import Exit, complain
from cauce.program import Program
from cauce.running import ServiceNote, announced, connected
from cauce.settings import Settings
from schemas import ServerTrouble, SettingsError
from schemas.common.metrics import ServiceMetrics
from schemas.common.serving import TaskWatch
from state import Stores, open_stores

if TYPE_CHECKING:
    from cauce.telemetry import Tracing

T = TypeVar("T")
log = logging.getLogger("cauce.service")

LIVE_OBJECTS = 50_000
"""Allocations between two runs of the cyclic garbage collector: with hundreds of turns in memory its default of 700 takes more
time than the turns (docs/performance.md)."""
STOP_SECONDS = 10.0
"""After the grace period, until a process in which a task has ended exits in any case."""
START_SECONDS = 60.0
"""How long a service of `cauce up` waits for the programs it depends on."""


class Stopped(Exception):
    """The process was asked to stop before the work was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a module of `cauce/services/` declares as its `SERVICE`."""

    name: str
    run: Callable[[Process], Awaitable[None]]
    """Returns after `Process.stop` is set and its work is finished. May raise `Stopped` and `SettingsError`."""
    command: Sequence[str] = ()
    """The subcommand of `cauce`, with arguments; empty: `cauce service NAME`."""
    after: Sequence[str] = ("broker", "emulators")
    """See `Program.after`."""
    wanted: Callable[[Settings], bool] = lambda settings: True
    """Whether `cauce up` runs it."""
    imports: Sequence[str] = ()
    """Modules that are slow to import; they are loaded while the programs it depends on start."""
    health_port: Callable[[Settings], int] = lambda settings: 0
    variables: Callable[[Settings, Mapping[str, str]], Mapping[str, str]] = lambda settings, given: given
    """See `Program.variables`."""
    traced_as: str = ""
    """Its name in traces, after `cauce-`; empty: the service's name."""
    uvloop: bool = False
    """Whether it runs on uvloop if that is installed."""

    def program(self) -> Program:
        """The service as a program of `cauce up`."""
        return Program(
            name=self.name,
            arguments=self._arguments,
            file=f"{self.name}.json",
            address=lambda text: json.loads(text).get("url"),
            after=self.after,
            wanted=self.wanted,
            variables=self.variables,
        )

    def _arguments(self, settings: Settings) -> Sequence[str]:
        found = ["cauce", *(self.command or ("service", self.name)), "--data", str(settings.data), "--supervised"]
        for option, file in (("--config", settings.file), ("--langgraph", settings.langgraph)):
            found += [option, str(file.absolute())] if file else []
        return found


class Process:
    """What a running service uses. `settings` name a Kafka; `supervised` is true under `cauce up`."""

    def __init__(
        self,
        service: Service,
        settings: Settings,
        *,
        supervised: bool,
        port: int | None,
        on_ready: Callable[[ServiceNote], None],
        on_end: Callable[[], None],
    ) -> None:
        from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

        from streams.health import Health

        self._service, self._on_ready, self._on_end = service, on_ready, on_end
        self._is_ready = False
        self.settings, self.supervised, self.port = settings, supervised, port
        self.stores: Stores = open_stores(settings.state_url, **settings.store_options)
        """Open inside `opened`."""
        self.registry = CollectorRegistry()
        for collector in (GCCollector, PlatformCollector, ProcessCollector):
            collector(registry=self.registry)
        metrics = ServiceMetrics(self.registry)
        self.tasks = TaskWatch(on_end=self._task_ended, on_item=lambda task: metrics.items_failed.labels(task).inc())
        """The tasks that serve everybody. One that ends stops the process, with exit code 1."""
        self._tasks_ended = metrics.tasks_ended
        self.health = Health(
            alive={"tasks": self.tasks.trouble}, ready={"start": self._started, "store": self._store_answers}
        )
        self.health_address = ""
        """Base URL of `/metrics`, `/healthz` and `/readyz`; set inside `opened`."""
        self.stop = asyncio.Event()
        """Set by SIGTERM and SIGINT."""

    @cached_property
    def tracing(self) -> Tracing:
        """Created at first use, because hosted applications set variables that exporters read. Raises `SettingsError`."""
        from cauce.telemetry import Tracing

        return Tracing(self.settings, f"cauce-{self._service.traced_as or self._service.name}")

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Opens the stores, checks their tables, and serves the health page for the length of the block.

        Raises `Stopped`, and `SettingsError` if tables are missing.
        """
        from streams.health import HealthServer

        server = HealthServer(self.health, self.registry, port=self._service.health_port(self.settings))
        await self.unless_stopped(self.stores.open())
        try:
            await self.unless_stopped(self._check_tables())
            await server.start()
            self.health_address = server.address
            yield
        finally:
            await server.stop()
            await self.stores.close()

    def ready(self, note: ServiceNote) -> None:
        """Reports that the service works. Other processes on this machine find it by `note`."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(LIVE_OBJECTS, 20, 50)
        self._is_ready = True
        self._on_ready(note)

    async def unless_stopped(self, work: Awaitable[T]) -> T:
        """The result of `work`. If the process is asked to stop first, cancels `work` and raises `Stopped`."""
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
            raise Stopped
        return working.result()

    async def _check_tables(self) -> None:
        if self.settings.cassandra is None:
            await self.stores.migrate()  # a local file needs no coordination with other processes
        elif missing := await self.stores.pending_migrations():
            raise SettingsError(
                f"{len(missing)} migrations of the store are missing; apply them with: cauce state migrate"
            )

    def _task_ended(self, task: str) -> None:
        """Stops as when asked to."""
        self._tasks_ended.labels(task).inc()
        self.stop.set()
        self._on_end()

    async def _started(self) -> str | None:
        return None if self._is_ready else "is starting"

    async def _store_answers(self) -> str | None:
        try:
            await self.stores.ping()
        except ServerTrouble as error:
            return str(error)
        return None


def run_here(
    service: Service,
    settings: Settings,
    *,
    supervised: bool = False,
    port: int | None = None,
    on_ready: Callable[[ServiceNote], None] = lambda note: None,
) -> None:
    """Runs the service in this process until it is asked to stop.

    Raises `NotRunning` if the settings mean the embedded system and it does not run, and `SettingsError` for invalid settings.
    """
    from cauce.event_loop import end_process, run
    from cauce.telemetry import set_up_logging

    set_up_logging(settings)
    if supervised:
        for module in service.imports:
            import_module(module)
    settings = connected(settings, wait=START_SECONDS if supervised else 0, after=service.after)
    with contextlib.ExitStack() as stack:

        def write_note(note: ServiceNote) -> None:
            stack.enter_context(announced(settings, service.name, note, supervised=supervised))
            on_ready(note)

        def exit_soon() -> None:  # also where stopping hangs
            exit_after(settings.grace_seconds + STOP_SECONDS, "a task that serves everybody has ended")

        work = run_service(service, settings, supervised=supervised, port=port, on_ready=write_note, on_end=exit_soon)
        trouble = run(work, uv=service.uvloop, code=lambda ended: 1 if ended else 0)
    if trouble:
        complain(trouble)
    end_process(1 if trouble else 0)
    if trouble:
        sys.exit(Exit.FAILED)


async def run_service(
    service: Service,
    settings: Settings,
    *,
    supervised: bool = False,
    port: int | None = None,
    on_ready: Callable[[ServiceNote], None] = lambda note: None,
    on_end: Callable[[], None] = lambda: None,
) -> str | None:
    """Runs the service until SIGTERM or SIGINT, then shuts it down. `on_ready` is called with its note.

    A task that serves everybody and ends by itself stops it, too: `on_end` is called, and the reason is returned.
    """
    if settings.kafka is None:
        raise SettingsError("Kafka is not configured: set CAUCE_KAFKA=host:port, or run everything here with: cauce up")
    process = Process(service, settings, supervised=supervised, port=port, on_ready=on_ready, on_end=on_end)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.stop.set)
    with process.tasks.watching(), contextlib.suppress(Stopped):
        await service.run(process)
    if "tracing" in vars(process):
        process.tracing.close()
    return await process.tasks.trouble()
