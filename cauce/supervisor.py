"""`cauce up`: runs the programs of an installation as child processes, restarts them when they die, stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from cauce import __version__
from cauce.exit_codes import Exit
from cauce.program import Program, levels, run_folder
from cauce.running import Running, runtime_file, write_running
from cauce.services import all_programs
from cauce.settings import Settings
from connectors.arcade import ArcadeSettings
from schemas import CauceError, SettingsError
from schemas.common.child_process import ChildProcess
from schemas.common.private_files import make_private_folder
from schemas.common.recent import pause_after
from schemas.common.serving import ServingTask, TaskWatch

START_SECONDS = 60.0
STOP_SECONDS = 10.0
"""Seconds after its grace period before a child that was asked to stop is killed."""
REFUSED = Exit.USAGE
"""Exit code of a child with invalid settings: restarting would not help."""
BACKOFF = (0.2, 10.0)
"""First and longest pause, in seconds, before a child that died is restarted; a child that ran for a minute starts over."""
SAME_SIGNAL_SECONDS = 1.0
"""Two signals within this time count as one: make forwards a SIGTERM that the process group has received as well."""

Tell = Callable[[str], None]


class AlreadyRunning(CauceError):
    """Another `cauce up` uses the data folder."""


class Child(ChildProcess):
    """The process of a program, which can be restarted when it dies."""

    def __init__(self, program: Program, settings: Settings) -> None:
        super().__init__()
        self.program, self._arguments = program, list(program.arguments(settings))
        self._settings = settings
        self.file = run_folder(settings.data) / program.file
        self.log = settings.data / "logs" / f"{program.name}.log"
        self._stop_seconds = program.stop_seconds or settings.grace_seconds + STOP_SECONDS
        self._started = 0.0
        self._deaths = 0

    async def start(self) -> None:
        """Starts the process; its output goes to the log file."""
        self._started = time.monotonic()
        # A worker that replaces a dead one need not wait until that one's session has timed out.
        given = self.program.variables(self._settings, os.environ)
        environment = {**given, "PYTHONUNBUFFERED": "1", "CAUCE_INSTANCE_ID": "up"}
        with self.log.open("ab") as log:
            await self.run(
                *("cauce.child", *self._arguments),
                stdin=asyncio.subprocess.PIPE,  # closes when this process ends, however that happens
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # the supervisor handles Ctrl-C and stops children in order
            )

    async def restart(self) -> None:
        """Starts the process at the port it had, where other processes expect it."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            address = self.program.address(self.file.read_text())
            if address and (port := urlsplit(address).port):
                self._arguments += ["--port", str(port)]
        await self.start()

    def backoff(self) -> float:
        """How long to wait before the next start, in seconds."""
        if time.monotonic() - self._started > 60:
            self._deaths = 0
        self._deaths += 1
        return pause_after(self._deaths, *BACKOFF)

    async def end(self) -> None:
        """Stops the process; kills it if that takes too long."""
        await self.stop(self._stop_seconds)

    def log_tail(self) -> str:
        """The last lines of its log."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").strip().splitlines()
            return "\n".join(lines[-8:])
        return ""


class Supervisor:
    """The embedded system of one data folder. `tell` is called with lines for the user."""

    def __init__(self, settings: Settings, tell: Tell, programs: Iterable[Program] | None = None) -> None:
        """`programs` that the settings do not need are left out; by default, all programs."""
        if programs is None:
            programs = all_programs()
        self._settings, self._tell, self._data = settings, tell, settings.data
        self._programs = tuple(programs)
        self._lock = -1
        self._stopping = asyncio.Event()
        self._signalled = 0.0
        self._levels: list[list[Child]] = []
        self._known: dict[str, Any] = {}
        self._ready: list[str] = []
        self._refusal: str | None = None
        self.running: Running | None = None

    async def run(self, on_ready: Callable[[Running], None]) -> None:
        """Runs until SIGINT or SIGTERM. Raises `AlreadyRunning`, `SettingsError`, or `CauceError` when a part does not start."""
        self._take_folder()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        watch = TaskWatch(on_end=lambda task: self._stopping.set())
        with watch.watching():
            await self._run(on_ready)
        if watch.ended:
            raise CauceError(f"{await watch.trouble()}; start it again with: cauce up")

    async def _run(self, on_ready: Callable[[Running], None]) -> None:
        watchers: list[ServingTask] = []
        try:
            self._make_children()
            await asyncio.gather(*(child.start() for child in self._children))
            watchers = [_watcher(child.program.name, partial(self._watch, child)) for child in self._children]
            for watcher in watchers:
                watcher.start()
            if await self._become_ready():
                assert self.running
                on_ready(self.running)
                await self._stopping.wait()
        finally:
            for watcher in watchers:
                await watcher.stop()
            await self._stop_children()
            runtime_file(self._data).unlink(missing_ok=True)
            os.close(self._lock)

    @property
    def _children(self) -> list[Child]:
        return [child for level in self._levels for child in level]

    def _take_folder(self) -> None:
        try:
            make_private_folder(self._data)
            (self._data / "logs").mkdir(exist_ok=True)
            run_folder(self._data).mkdir(exist_ok=True)
            self._lock = os.open(self._data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingsError(
                f"the data folder {self._data} cannot be used: {error.strerror}. Choose another with --data"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise AlreadyRunning(f"Cauce is already running from {self._data}; chat with: cauce chat") from error

    def _make_children(self) -> None:
        for program in self._programs:
            (run_folder(self._data) / program.file).unlink(missing_ok=True)
        wanted = [program for program in self._programs if program.wanted(self._settings)]
        self._levels = [[Child(program, self._settings) for program in level] for level in levels(wanted)]

    async def _become_ready(self) -> bool:
        """Waits for the children, all started together, in order, and publishes their addresses. False if asked to stop."""
        self._note()
        for child in self._children:
            if not await self._until_ready(child):
                return False
            if child.program.then:
                self._known |= await child.program.then(self._settings, child.file.read_text())
            self._ready.append(child.program.name)
            self._note()
        return True

    def _note(self) -> None:
        all_ready = len(self._ready) == len(self._children)
        self.running = Running(
            version=__version__,
            state="ready" if all_ready else "starting",
            state_url=self._settings.state_url,
            arcade_emulated=self._settings.of(ArcadeSettings).api_key is None,
            children={child.program.name: child.pid for child in self._children},
            ready=tuple(self._ready),
            **self._known,
        )
        write_running(self._data, self.running)

    async def _until_ready(self, child: Child) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while not child.file.exists():
            if self._stopping.is_set():
                return False
            if self._refusal:
                raise SettingsError(self._refusal)
            if time.monotonic() > deadline:
                raise CauceError(
                    f"the {child.program.name} did not start; the last lines of its log:\n{child.log_tail()}"
                )
            await asyncio.sleep(0.02)
        return True

    async def _watch(self, child: Child) -> None:
        name = child.program.name
        while True:
            code = await child.wait()
            if self._stopping.is_set():
                return
            if code == REFUSED and (self.running is None or self.running.state != "ready"):
                self._refusal = f"the {name} cannot start; the last lines of its log:\n{child.log_tail()}"
                return
            seconds = child.backoff()
            self._tell(f"the {name} ended with code {code}; restarting it in {seconds:g} s (log: {child.log})")
            await asyncio.sleep(seconds)
            while error := await _fails(child.restart()):
                seconds = child.backoff()
                self._tell(f"the {name} cannot be started ({error}); trying it again in {seconds:g} s")
                await asyncio.sleep(seconds)
            if self.running:
                self._note()

    def _on_signal(self) -> None:
        now = time.monotonic()
        if self._stopping.is_set() and now - self._signalled > SAME_SIGNAL_SECONDS:
            for child in self._children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
        elif not self._stopping.is_set():
            self._signalled = now
            self._tell("stopping ...")
            self._stopping.set()

    async def _stop_children(self) -> None:
        """Stops dependent programs before those they depend on."""
        self._stopping.set()
        for level in reversed(self._levels):
            await asyncio.gather(*(child.end() for child in level))


def _watcher(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> ServingTask:
    return ServingTask(f"the watching of the {name}", work, may_return=True)


async def _fails(work: Coroutine[Any, Any, None]) -> OSError | None:
    try:
        await work
    except OSError as error:
        return error
    return None
