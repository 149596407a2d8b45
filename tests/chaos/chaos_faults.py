"""The faults, one after the other, and how long it takes until everything that was open is answered."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from dataclasses import dataclass

from chaos_fleet import SIDES, Fleet, until_dead
from chaos_load import Load
from chaos_worker import POINTS

PATIENCE = 240.0
"""Seconds after which what is still open counts as not recovered."""
BOUND = 10.0
"""Seconds: answered again after a worker's death at a session time-out of 6 s, and after a server's return."""


@dataclass
class Fault:
    """One fault. `began` and `over` are monotonic; recovery counts from `over`."""

    kind: str
    where: str
    began: float
    over: float
    recovered: float | None = None
    """Seconds until all that was open was answered; None when it was not."""


class Faults:
    """Does harm, drawn from the seed."""

    def __init__(self, fleet: Fleet, load: Load, chance: random.Random) -> None:
        self._fleet, self._load, self._random = fleet, load, chance
        self.done: list[Fault] = []

    async def every_crash_point(self) -> None:
        """A worker dies at each named point once."""
        for group, points in POINTS.items():
            for point in points:
                await self.crash_at(group, point)

    async def crash_at(self, group: str, point: str) -> None:
        """A worker of the group kills itself at this point."""
        worker = self._fleet.workers[group, self._random.choice(SIDES)]
        await worker.ready.wait()
        began = time.monotonic()
        self._fleet.arm(worker, point)
        died = await until_dead(worker, PATIENCE)
        if died is None:
            self.done.append(Fault(f"crash: {point}", group, began, began))
            return
        await self._recover(Fault(f"crash: {point}", group, died, died))

    async def one_of(self, kinds: list[str]) -> None:
        """A fault of these kinds."""
        kind = self._random.choice(kinds)
        if kind == "crash":
            group = self._random.choice(list(POINTS))
            await self.crash_at(group, self._random.choice(list(POINTS[group])))
            return
        side = self._random.choice(SIDES)
        worker = self._fleet.workers[self._random.choice(("turns", "turns", "tools")), side]
        await worker.ready.wait()
        where, began = f"{worker.group} {side}", time.monotonic()
        if kind == "kill":
            worker.signal(signal.SIGKILL)
        elif kind == "stop":
            worker.signal(signal.SIGTERM)
        elif kind == "freeze":
            worker.signal(signal.SIGSTOP)
            await asyncio.sleep(self._random.uniform(7, 10))
            worker.signal(signal.SIGCONT)
        elif kind.endswith("restarts"):
            server = self._fleet.kafka if kind.startswith("Kafka") else self._fleet.cassandra
            where = "server"
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        else:
            where = await self._on_the_wire(kind, side)
        await self._recover(Fault(kind, where, began, time.monotonic()))

    async def _on_the_wire(self, kind: str, side: str) -> str:
        server = self._random.choice(("kafka", "cassandra"))
        proxy = self._fleet.proxies[server, side]
        if kind == "connections cut":
            proxy.cut_connections()
        elif kind == "latency":
            proxy.latency = 0.2
            await asyncio.sleep(8)
        elif kind == "half open":
            proxy.silence()
            await asyncio.sleep(self._random.uniform(3, 10))
        else:  # an outage for all workers
            for each in SIDES:
                self._fleet.proxies[server, each].refuse()
            await asyncio.sleep(30)
            for each in SIDES:
                self._fleet.proxies[server, each].heal()
            return server
        proxy.heal()
        return f"{server} {side}"

    def _tell_why(self, waiting: set[str]) -> None:
        """What waits, and the end of the workers' log, while it is being slow."""
        print(f"{time.strftime('%H:%M:%S')}: {len(waiting)} wait:", flush=True)
        for run in sorted(waiting)[:10]:
            age = time.monotonic() - self._load.book.accepted[run]
            print(f"    {run} of {self._load.book.places.get(run)}, for {age:.1f} s")
        print(self._fleet.log_end(), flush=True)

    async def _recover(self, fault: Fault) -> None:
        """Waits until what was open at the end of the fault is answered, and the fleet is whole again."""
        self.done.append(fault)
        book, deadline = self._load.book, fault.over + PATIENCE
        waiting, told = set(book.open_since(fault.over)), False
        while waiting and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            waiting = {run for run in waiting if run not in book.ended}
            if waiting and not told and time.monotonic() > fault.over + BOUND * 0.7:
                told = True
                self._tell_why(waiting)
        if not waiting:
            fault.recovered = time.monotonic() - fault.over
        print(
            f"{fault.kind} ({fault.where}): {f'{fault.recovered:.1f} s' if not waiting else 'NOT RECOVERED'}",
            flush=True,
        )
        for worker in list(self._fleet.workers.values()):
            await asyncio.wait_for(worker.ready.wait(), PATIENCE)
