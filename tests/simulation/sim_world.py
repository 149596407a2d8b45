"""One run of the world: a load, workers, and faults drawn from the seed; then fair weather until everything is at rest."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sim_cassandra import SimCassandra
from sim_checks import promises_broken, unfinished
from sim_kafka import Entry, SimKafka, Transaction
from sim_loop import EPOCH, Stuck, VirtualLoop
from sim_network import FINE, Network, Weather
from sim_people import People
from sim_services import SimService
from sim_worker import OPTIONS, Outside, SimWorker, small_limits

from processors.groups import GROUPS
from schemas import TOPICS, AgentSettings, ApprovalPolicy, ModelSettings, PartitionSet, Tenant
from state.cassandra.directory import _PUT_TENANT

FAULTS = (
    "kill", "kill", "kill", "freeze", "stop", "cut kafka", "cut cassandra", "cassandra down", "kafka moves", "storm", "cancel"
)  # fmt: skip
ODDITIES = ("unreadable", "unreadable", "gap", "gap", "silence")
"""What others, or disks, do to the topics that a group reads."""
SECONDS = 12.0
"""Of faults; then everything heals."""
REST_SECONDS = 200.0
"""After which everything must be at rest."""


@dataclass
class Run:
    """What a seed came to."""

    seed: int
    broken: list[str]
    trace: list[str] = field(repr=False)
    steps: int = 0
    seconds: float = 0
    inputs: int = 0
    wasted: int = 0
    """Model calls that were made again."""
    digest: str = ""
    """Of everything that was committed."""


class World:
    """See `run`."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop, self._random = loop, loop.random
        counts = {t.value: 2 if spec.partition_set is PartitionSet.CONVERSATION else 1 for t, spec in TOPICS.items()}
        kafka = SimKafka(
            loop,
            counts,
            session=OPTIONS.session_timeout_ms / 1000,
            transaction_timeout=OPTIONS.transaction_timeout_ms / 1000,
        )
        self.weather = Weather() if self._random.random() < 0.7 else FINE
        self.network = Network(loop, self.weather)
        self.outside = Outside(loop, self.network, kafka, SimCassandra(), SimService(), Counter())
        for name, require in (("a", "side_effects"), ("b", "never")):
            agent = AgentSettings(
                model=ModelSettings(timeout_seconds=5),
                approvals=ApprovalPolicy(require=require),  # type: ignore[arg-type]
            )
            tenant = Tenant(tenant_id=name, created_at=datetime.fromtimestamp(EPOCH, UTC), agents=(agent,))
            self.outside.cassandra.run(_PUT_TENANT, (1, tenant.to_bytes(), name, None))
        self.people = People(
            self.outside, ["a:1", "b:1", "b:2"][: self._random.randint(1, 3)], self._random.randint(1, 3)
        )
        self._groups = [group for group in GROUPS if group != "audit" or self._random.random() < 0.3]
        """The audit group has one topic and no way back, so that it need not be in every world."""
        self.workers: list[SimWorker] = []
        self._starts = 0
        self._over = False
        self.trace: list[str] = []

    async def run(self) -> list[str]:
        """The broken promises of this world."""
        for _ in range(2):
            self._start_worker()
        self.people.start()
        caretaker = self._loop.create_task(self._replace_forever())
        faults = [self._loop.create_task(self._fault()) for _ in range(self._random.choice((0, 1, 2, 2, 3, 4, 6)))]
        if self.weather is not FINE:
            faults += [self._loop.create_task(self._oddity()) for _ in range(self._random.choice((0, 0, 1, 2, 4)))]
        while not (self.people.silent and all(fault.done() for fault in faults)):
            await asyncio.sleep(0.25)
        self.network.weather = FINE
        self._tell("fair weather from here on")
        deadline = self._loop.now + REST_SECONDS
        left: list[str] = ["not looked yet"]
        while (left or self.people.deciding) and self._loop.now < deadline:
            await asyncio.sleep(0.5)
            self.people.look()
            left = unfinished(self.outside, self.people, self._groups)
        caretaker.cancel()
        await asyncio.sleep(2)  # nothing may come afterwards
        self.people.look()
        return [
            *(f"waits forever: {what}" for what in left),
            *promises_broken(self.outside, self.people, self._groups),
        ]

    # ---- faults

    async def _fault(self) -> None:
        chance = self._random
        await asyncio.sleep(chance.random() * SECONDS)
        kind, worker = chance.choice(FAULTS), chance.choice(self.workers)
        self._tell(f"{kind}: {worker.node.name}")
        if kind == "kill":
            worker.node.dies_at = worker.node.steps + int(chance.expovariate(1 / 300)) + 1
        elif kind == "freeze":
            worker.node.freeze()
            await asyncio.sleep(chance.choice((0.5, 3.5, 6)))
            worker.node.thaw()
        elif kind == "cancel":  # by code that had no order for it
            running = [task for runtime in worker.runtimes for task in runtime._tasks]
            if running and not worker.node.dead:
                chance.choice(running).cancel()
        elif kind == "stop":
            worker.stop()
        elif kind.startswith("cut"):
            pair = (worker.node, kind.removeprefix("cut "))
            self.network.cut.add(pair)
            await asyncio.sleep(chance.random() * 6)
            self.network.cut.discard(pair)
        elif kind == "cassandra down":
            pairs = {(w.node, "cassandra") for w in self.workers}
            self.network.cut |= pairs
            await asyncio.sleep(chance.random() * 6)
            self.network.cut -= pairs
        elif kind == "kafka moves":
            self.outside.kafka.coordinator_moves(chance.random() * 5)
        else:
            self.network.weather = Weather(slow=0.2, lost_requests=0.1, lost_answers=0.15, late_requests=0.05)
            await asyncio.sleep(chance.random() * 5)
            self.network.weather = self.weather
        self._tell(f"{kind}: over")

    async def _oddity(self) -> None:
        chance, kafka = self._random, self.outside.kafka
        await asyncio.sleep(chance.random() * SECONDS)
        kind = chance.choice(ODDITIES)
        read = {topic.value for group in self._groups for topic in GROUPS[group].reads}
        tp = chance.choice(sorted(tp for tp in kafka.logs if tp.topic in read))
        self._tell(f"{kind}: {tp.topic}/{tp.partition}")
        if kind == "silence":
            kafka.silent[tp] = self._loop.now + chance.random() * 6
        for _ in range(chance.choice((1, 1, 2, 3)) if kind == "unreadable" else 0):
            kafka.put(tp, self._odd(None, unreadable_until=math.inf))
        # Whether it was aborted or compacted away: nobody gets these.
        for _ in range(chance.choice((1, 3, 40)) if kind == "gap" else 0):
            kafka.put(tp, self._odd(Transaction(self._loop.now, "aborted")))

    def _odd(self, transaction: Transaction | None, **more: float) -> Entry:
        return Entry(None, b"\xff", (), int((EPOCH + self._loop.now) * 1000), transaction, **more)  # type: ignore[arg-type]

    async def _replace_forever(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for worker in [w for w in self.workers if w.node.dead]:
                self._tell(f"{worker.node.name} is dead")
                self.workers.remove(worker)
                self._start_worker()

    def _start_worker(self) -> None:
        self._starts += 1
        self.workers.append(SimWorker(self.outside, f"w{self._starts}", self._groups))

    def _tell(self, what: str) -> None:
        self.trace.append(f"{self._loop.now:8.3f} {what}")


def run(seed: int) -> Run:
    """Runs one seed to its end."""
    loop = VirtualLoop(seed)
    started = time.perf_counter()
    with _clock_of(loop), small_limits():
        asyncio.set_event_loop(None)
        world = World(loop)
        try:
            broken = loop.run_until_complete(world.run())
        except Stuck as stuck:
            broken = [f"stuck: {stuck}", *unfinished(world.outside, world.people, GROUPS)]
        broken += [f"an error that nobody took: {failure}" for failure in loop.failures]
        digest = hashlib.sha256()
        for tp, log in sorted(world.outside.kafka.logs.items()):
            for entry in log:
                digest.update(f"{tp}{entry.timestamp_ms}".encode() + (entry.value or b""))
        steps = loop.steps
        loop.end()
    again = sum(count - 1 for count in world.outside.asked.values())
    seconds = time.perf_counter() - started
    return Run(seed, broken, world.trace, steps, seconds, len(world.people.accepted), again, digest.hexdigest()[:16])


@contextmanager
def _clock_of(loop: VirtualLoop) -> Iterator[None]:
    """Every clock and every source of chance is the world's."""
    real = time.monotonic, time.time, time.time_ns, secrets.token_hex
    state = random.getstate()
    time.monotonic = lambda: loop.now
    time.time = lambda: EPOCH + loop.now
    time.time_ns = lambda: int((EPOCH + loop.now) * 1e9)
    secrets.token_hex = lambda n=16: loop.random.getrandbits(8 * (n or 16)).to_bytes(n or 16, "big").hex()
    random.seed(loop.random.getrandbits(32))
    try:
        yield
    finally:
        time.monotonic, time.time, time.time_ns, secrets.token_hex = real
        random.setstate(state)
