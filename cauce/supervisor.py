"""`cauce up`: broker, emulators and a worker as child processes, started together, watched, stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from cauce import __version__
from cauce.gateway import gateway_file
from cauce.running import Running, emulators_file, find_workers, runtime_file, write_running
from cauce.settings import Settings
from schemas import CauceError, SettingsError

START_SECONDS = 60.0
STOP_SECONDS = 10.0
"""Beyond its grace period, before a child that was told to stop is killed."""
REFUSED = 2
"""Exit code of a child whose settings cannot work (`Exit.USAGE`): another start would not help."""
BACKOFF = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a child that died is started again; a child that ran for a minute begins anew."""
SAME_SIGNAL_SECONDS = 1.0
"""make passes SIGTERM on to us, and so may whoever signals the whole process group: twice at once is once."""

Told = Callable[[str], None]


class AlreadyRunning(CauceError):
    """Another `cauce up` uses the data folder."""


class Child:
    """One child process (a module with arguments), started again when it dies."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        self.name = name
        self._arguments, self._log, self._environment = list(arguments), log, environment
        self._process: asyncio.subprocess.Process | None = None
        self._started = 0.0
        self._deaths = 0

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._process
        return self._process.pid

    async def start(self) -> None:
        """Starts the process; its output goes to the log file."""
        self._started = time.monotonic()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cauce.child"),
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,  # closes with us, however we end
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on, in order
            )

    async def died(self) -> int:
        """Waits until it ends; returns the exit code."""
        assert self._process
        return await self._process.wait()

    def keep_port(self, port: int) -> None:
        """Makes the child listen on this port from its next start on, whatever port it was configured with."""
        self._arguments += ["--port", str(port)]

    def backoff(self) -> float:
        """How long to wait before it is started again."""
        if time.monotonic() - self._started > 60:
            self._deaths = 0
        self._deaths += 1
        return BACKOFF[min(self._deaths, len(BACKOFF)) - 1]

    async def stop(self, seconds: float) -> None:
        """Ends it, gently first."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def last_words(self) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            lines = self._log.read_text(errors="replace").strip().splitlines()
            return "\n".join(lines[-8:])
        return ""


class Supervisor:
    """The embedded system of one data folder. `tell` gets a line for what the user should know."""

    def __init__(self, settings: Settings, tell: Told) -> None:
        self._settings, self._tell = settings, tell
        self._data = settings.data
        self._lock = -1
        self._stopping = asyncio.Event()
        self._signalled = 0.0
        self._children: dict[str, Child] = {}
        self._refusal: str | None = None
        self.running: Running | None = None

    async def run(self, on_ready: Callable[[Running], None]) -> None:
        """Runs until SIGINT or SIGTERM. Raises `AlreadyRunning`, `SettingsError`, or `CauceError` when a part does not start."""
        self._take_folder()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        watchers: list[asyncio.Task[None]] = []
        try:
            self._make_children()
            await asyncio.gather(*(child.start() for child in self._children.values()))
            watchers = [asyncio.create_task(self._watch(child)) for child in self._children.values()]
            if await self._become_ready():
                assert self.running
                on_ready(self.running)
                await self._stopping.wait()
        finally:
            for watcher in watchers:
                watcher.cancel()
            await self._stop_children()
            runtime_file(self._data).unlink(missing_ok=True)
            os.close(self._lock)

    def _take_folder(self) -> None:
        try:
            (self._data / "logs").mkdir(parents=True, exist_ok=True)
            (self._data / "run").mkdir(exist_ok=True)
            self._lock = os.open(self._data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SettingsError(
                f"the data folder {self._data} cannot be used: {error.strerror}. Choose another with --data"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise AlreadyRunning(f"Cauce runs from {self._data} already; talk to it with: cauce chat") from error

    def _make_children(self) -> None:
        data, logs = self._data, self._data / "logs"
        self._address_file.unlink(missing_ok=True)
        commands: dict[str, list[str]] = {
            "broker": [
                *("streams.embedded", "--data", str(data / "kafka"), "--port", str(self._settings.broker.port)),
                *("--port-file", str(self._address_file)),
            ],
            "worker": ["cauce", "work", "turns", "tools", "audit", "--data", str(data), "--supervised"],
        }
        gateway_file(data).unlink(missing_ok=True)
        commands["gateway"] = ["cauce", "gateway", "--data", str(data), "--supervised"]
        if self._settings.file:
            for name in ("worker", "gateway"):
                commands[name] += ["--config", str(self._settings.file.absolute())]
        if self._settings.langgraph:
            for name in ("worker", "gateway"):
                commands[name] += ["--langgraph", str(self._settings.langgraph.absolute())]
        if self._settings.arcade_api_key is None:
            emulators_file(data).unlink(missing_ok=True)
            commands["emulators"] = [
                *("connectors.emulators", "--data", str(data / "emulators")),
                *("--port-file", str(emulators_file(data))),
            ]
        for name, arguments in commands.items():
            # A worker that takes the place of a dead one need not wait until that one's session is over.
            environment = {"PYTHONUNBUFFERED": "1", "CAUCE_INSTANCE_ID": "up"}
            self._children[name] = Child(name, arguments, logs / f"{name}.log", environment)

    @property
    def _address_file(self) -> Path:
        return self._data / "run" / "kafka"

    async def _become_ready(self) -> bool:
        """Waits for the parts and publishes their addresses; False when told to stop meanwhile."""
        from streams import topics

        self._note("starting")
        if not await self._until(self._address_file.exists, "broker"):
            return False
        kafka = self._address_file.read_text()
        await topics.apply(kafka, partitions=self._settings.partition_counts)
        if "emulators" in self._children and not await self._until(emulators_file(self._data).exists, "emulators"):
            return False
        self._note("connected", kafka)
        if not await self._until(lambda: bool(find_workers(self._settings)), "worker"):
            return False
        if not await self._until(gateway_file(self._data).exists, "gateway"):
            return False
        self._note("ready", kafka)
        return True

    def _note(self, state: Literal["starting", "connected", "ready"], kafka: str | None = None) -> None:
        self.running = Running(
            pid=os.getpid(),
            started_at=datetime.now(UTC),
            version=__version__,
            state=state,
            kafka=kafka,
            state_url=self._settings.state_url,
            arcade_url=self._settings.arcade_url,
            arcade_emulated="emulators" in self._children,
            children={name: child.pid for name, child in self._children.items()},
        )
        write_running(self._data, self.running)

    async def _until(self, condition: Callable[[], bool], name: str) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            if self._stopping.is_set():
                return False
            if self._refusal:
                raise SettingsError(self._refusal)
            if time.monotonic() > deadline:
                child = self._children[name]
                raise CauceError(f"the {name} did not start; the end of its log:\n{child.last_words()}")
            await asyncio.sleep(0.02)
        return True

    async def _watch(self, child: Child) -> None:
        while True:
            code = await child.died()
            if self._stopping.is_set():
                return
            if code == REFUSED and (self.running is None or self.running.state != "ready"):
                self._refusal = f"the {child.name} cannot start; the end of its log:\n{child.last_words()}"
                return
            wait = child.backoff()
            log = self._data / "logs" / f"{child.name}.log"
            self._tell(f"the {child.name} ended with code {code}; starting it again in {wait:g} s (log: {log})")
            await asyncio.sleep(wait)
            if port := self._port_of(child.name):
                child.keep_port(port)
            await child.start()
            if self.running:
                self._note(self.running.state, self.running.kafka)

    def _port_of(self, name: str) -> int | None:
        """The port at which the others know a server, so that it comes back there; None when it has none yet."""
        with contextlib.suppress(OSError):
            if name == "broker":
                return urlsplit(f"//{self._address_file.read_text()}").port
            if name == "emulators":
                base_url: str = json.loads(emulators_file(self._data).read_text())["base_url"]
                return urlsplit(base_url).port
            if name == "gateway":
                url: str = json.loads(gateway_file(self._data).read_text())["url"]
                return urlsplit(url).port
        return None

    def _on_signal(self) -> None:
        now = time.monotonic()
        if self._stopping.is_set() and now - self._signalled > SAME_SIGNAL_SECONDS:
            for child in self._children.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
        elif not self._stopping.is_set():
            self._signalled = now
            self._tell("stopping ...")
            self._stopping.set()

    async def _stop_children(self) -> None:
        """The worker first, since it still needs the others."""
        self._stopping.set()
        seconds = self._settings.grace_seconds + STOP_SECONDS
        await asyncio.gather(
            *(self._children[name].stop(seconds) for name in ("gateway", "worker") if name in self._children)
        )
        for name in ("emulators", "broker"):
            if name in self._children:
                await self._children[name].stop(5)
