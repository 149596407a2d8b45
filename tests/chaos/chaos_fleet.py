"""The servers, the proxies in front of them, and two workers of each group that are replaced when they die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chaos_proxy import Proxy

from deploy.cluster import CassandraServer, KafkaServer
from deploy.cluster.process import free_port

GROUPS = ("turns", "tools", "audit")
SIDES = ("a", "b")
"""One worker of each group on each side; each side has its own ways to the servers."""


@dataclass
class Worker:
    """A process of one group on one side."""

    group: str
    side: str
    process: asyncio.subprocess.Process
    ready: asyncio.Event
    announcing: asyncio.Task[None] | None = None

    def signal(self, number: int) -> None:
        """Sends a signal."""
        self.process.send_signal(number)


class Fleet:
    """Everything that runs, under one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.proxies: dict[tuple[str, str], Proxy] = {}
        """By server and side."""
        self.workers: dict[tuple[str, str], Worker] = {}
        """By group and side: the process that holds the place now."""
        ways = {side: (free_port(), free_port()) for side in SIDES}
        self.kafka = KafkaServer(folder / "kafka", proxied=list(ways.values()))
        self.cassandra = CassandraServer(folder / "cassandra")
        for side, (port, proxy) in ways.items():
            self.proxies["kafka", side] = Proxy(proxy, port)
            self.proxies["cassandra", side] = Proxy(free_port(), self.cassandra.port)
        self._environment: dict[str, str] = {}
        self._keepers: list[asyncio.Task[None]] = []

    async def start_servers(self) -> None:
        """Kafka, Cassandra and the proxies."""
        await asyncio.gather(asyncio.to_thread(self.kafka.start), asyncio.to_thread(self.cassandra.start))
        for proxy in self.proxies.values():
            await proxy.start()

    async def start_workers(self, environment: Mapping[str, str]) -> None:
        """Two of each group; returns when all have their slots."""
        self._environment = dict(environment)
        places = [(group, side) for side in SIDES for group in GROUPS]
        await asyncio.gather(*(self._start(*place) for place in places))
        self._keepers = [asyncio.create_task(self._keep(*place)) for place in places]
        await asyncio.gather(*(worker.ready.wait() for worker in self.workers.values()))

    async def stop(self) -> None:
        """Ends everything."""
        for keeper in self._keepers:
            keeper.cancel()
        for worker in self.workers.values():
            if worker.process.returncode is None:
                worker.process.kill()
                await worker.process.wait()
        for proxy in self.proxies.values():
            await proxy.stop()
        await asyncio.gather(asyncio.to_thread(self.kafka.stop), asyncio.to_thread(self.cassandra.stop))

    def log_end(self, lines: int = 60) -> str:
        """What the workers said last."""
        file = self.folder / "workers.log"
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:]) if file.exists() else ""

    def arm(self, worker: Worker, point: str) -> None:
        """The worker kills itself when it passes this point next."""
        self._arm_file(worker.group, worker.side).write_text(point)
        worker.signal(signal.SIGUSR1)

    @property
    def model_calls(self) -> int:
        """Model calls of all workers that ever ran."""
        file = self.folder / "model-calls"
        return file.stat().st_size if file.exists() else 0

    def _arm_file(self, group: str, side: str) -> Path:
        return self.folder / f"arm-{group}-{side}"

    async def _start(self, group: str, side: str) -> None:
        with (self.folder / "workers.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(Path(__file__).parent / "chaos_worker.py"), group),
                env={
                    **os.environ,
                    **self._environment,
                    "PYTHONPATH": str(Path(__file__).parents[2]),
                    "CAUCE_KAFKA": f"127.0.0.1:{self.proxies['kafka', side].port}",
                    "CAUCE_CASSANDRA": f"127.0.0.1:{self.proxies['cassandra', side].port}",
                    "CAUCE_INSTANCE_ID": side,
                    "CAUCE_DATA": str(self.folder / f"data-{side}"),
                    "MODEL_CALLS": str(self.folder / "model-calls"),
                    "ARM_FILE": str(self._arm_file(group, side)),
                },
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        worker = self.workers[group, side] = Worker(group, side, process, asyncio.Event())
        worker.announcing = asyncio.create_task(self._until_ready(worker))

    async def _until_ready(self, worker: Worker) -> None:
        assert worker.process.stdout
        if await worker.process.stdout.readline():
            worker.ready.set()

    async def _keep(self, group: str, side: str) -> None:
        while True:
            await self.workers[group, side].process.wait()
            await self._start(group, side)


async def until_dead(worker: Worker, seconds: float) -> float | None:
    """When the worker's process ended; None when it did not."""
    try:
        await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(worker.process.wait())), seconds)
    except TimeoutError:
        return None
    return time.monotonic()
