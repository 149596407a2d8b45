"""Faults of the embedded system: `cauce up` in one folder on one machine."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from chaos_faults import PATIENCE, Fault
from chaos_load import Load
from chaos_report import Report
from chaos_vandal import Vandal

from bench.systems import TENANTS, prepare, process
from cauce.running import Running, embedded_access, is_alive, runtime_file
from deploy.cluster.process import free_port

CLIENTS = 100
KINDS = ("broker killed", "worker killed", "all killed", "torn write", "broker's disk full", "worker's disk full")


class Embedded:
    """`cauce up` over a folder; it keeps its port, so that clients find it again."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.data, self._log = folder / "var", folder / "up.log"
        ours = {"CAUCE_DATA": str(self.data), "CAUCE_BROKER_PORT": str(free_port()), "CAUCE_LOG_LEVEL": "warning"}
        self._environment = {**os.environ, **ours, **settings, "CAUCE_MODEL": "rules"}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> Running:
        """What the system says of itself."""
        return Running.model_validate_json(runtime_file(self.data).read_bytes())

    async def start(self) -> None:
        """Returns when it is ready."""
        runtime_file(self.data).unlink(missing_ok=True)
        with self._log.open("ab") as log:
            # Not asyncio's: its watcher would wait for the process beside `wait` below.
            self._process = subprocess.Popen(  # noqa: ASYNC220
                [sys.executable, "-m", "cauce", "up"], env=self._environment, stdout=log, stderr=log
            )
        async with asyncio.timeout(PATIENCE):
            while not (runtime_file(self.data).exists() and self.running.state == "ready"):
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """SIGKILL to `cauce up`; its parts must end with it."""
        assert self._process
        children = list(self.running.children.values())
        self._process.kill()
        self._process.wait()
        async with asyncio.timeout(PATIENCE):
            while any(map(is_alive, children)):
                await asyncio.sleep(0.02)

    def stop(self) -> None:
        """In order."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)


class EmbeddedFaults:
    """Does harm to one embedded system."""

    def __init__(self, system: Embedded, load: Load, chance: random.Random) -> None:
        self._system, self._load, self._random = system, load, chance
        self.done: list[Fault] = []

    async def one(self, kind: str) -> None:
        """A fault, and the wait until what was open is answered."""
        await asyncio.sleep(self._random.uniform(1, 3))
        began, children = time.monotonic(), self._system.running.children
        if kind == "broker killed":
            os.kill(children["broker"], signal.SIGKILL)
        elif kind == "worker killed":
            os.kill(children["worker"], signal.SIGKILL)
        elif kind == "all killed":
            await self._system.kill()
            await self._system.start()
        elif kind == "torn write":
            await self._system.kill()
            self._tear()
            await self._system.start()
        else:
            await self._no_space(children["broker" if kind.startswith("broker") else "worker"])
        await self._recover(Fault(kind, "embedded", began, time.monotonic()))

    def _tear(self) -> None:
        """The last write of each partition's log got half way to the disk."""
        for log in (self._system.data / "kafka").rglob("*.log"):
            size = log.stat().st_size
            if size:
                with log.open("r+b") as file:
                    start = file.read(61)  # a batch's header, and then nothing
                    file.seek(size)
                    file.write(start[: self._random.randrange(1, len(start) + 1)])

    async def _no_space(self, pid: int) -> None:
        """Files cannot grow for a while: RLIMIT_FSIZE makes a write fail as a full disk does."""
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        await asyncio.sleep(self._random.uniform(3, 5))
        if is_alive(pid):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    async def _recover(self, fault: Fault) -> None:
        self.done.append(fault)
        book, deadline = self._load.book, fault.over + PATIENCE
        waiting = set(book.open_since(fault.over))
        while waiting and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            waiting = {run for run in waiting if run not in book.ended}
        if not waiting:
            fault.recovered = time.monotonic() - fault.over
        print(f"{fault.kind}: {f'{fault.recovered:.1f} s' if not waiting else 'NOT RECOVERED'}", flush=True)


async def run(folder: Path, seed: int, seconds: float) -> Report:
    """Every kind once, then any of them until the time is up."""
    chance = random.Random(seed)
    async with process("-m", "bench.echo_arcade", environment={}, log=folder / "tool.log") as (_, url):
        system = Embedded(folder, CAUCE_ARCADE_URL=url, ARCADE_API_KEY="chaos")
        try:
            await system.start()
            address = system.running.kafka
            assert address
            kafka = embedded_access(system.data).servers(address)
            await prepare(kafka, system.running.state_url)
            load = Load(kafka, TENANTS, CLIENTS, chance)
            await load.start()
            vandal = Vandal(kafka, TENANTS, load.book, random.Random(seed), files=system.data / "kafka")
            vandal.start()
            faults = EmbeddedFaults(system, load, chance)
            began = time.monotonic()
            for kind in chance.sample(KINDS, len(KINDS)):
                await faults.one(kind)
            while time.monotonic() - began < seconds:
                await faults.one(chance.choice(KINDS))
            await vandal.stop(PATIENCE)
            await load.finish(PATIENCE)
            async with httpx.AsyncClient(trust_env=False) as client:
                effects = (await client.get(f"{url}/calls")).json()["by_text"]
            return Report(seed, load.book, faults.done, effects, None, vandal)
        finally:
            system.stop()
