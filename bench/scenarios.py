"""Scenarios besides throughput: waiting, interference, growth. On the embedded system, each with a comparison; floods also on
Kafka and Cassandra."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from aiokafka.partitioner import murmur2

from bench.figures import quantile
from bench.load import Asked, Load
from bench.systems import PARTITIONS, System, Workers, cluster, embedded
from schemas import PartitionSet, new_id

MODELS = {
    "slow": "scripted:delay=10",
    "veryslow": "scripted:delay=8",
    "failing": "scripted:fail=100000",
    "streaming": "scripted:delay=0.2,tokens=10",
    "quiet": "scripted:delay=0.2,tool=Bench_Echo",
    "loud": "scripted:delay=0.2,tool=Bench_Echo",
    "plain": "scripted:delay=0.05",
    "busy": "scripted:delay=600",
}


async def run(folder: Path) -> list[str]:
    """Runs all scenarios; returns Markdown paragraphs."""
    found = []
    chosen = [(scenario, embedded) for scenario in (waiting, first_token, workers, length, neighbours, tenants, floods)]
    for number, (scenario, opened) in enumerate([*chosen, (floods, cluster)]):
        place = folder / f"scenario{number}"
        place.mkdir(parents=True)
        print(f"{scenario.__name__} ({opened.__name__}) ...", flush=True)
        async with opened(place, MODELS) as system:
            found.append(await scenario(system))
        print(f"  {found[-1]}", flush=True)
    return found


async def waiting(system: System) -> str:
    """1,000 threads waiting for a slow model in one worker."""
    async with system.workers(tenant_running=1024) as workers, Load(system.bootstrap) as load:
        pid = workers.pids["worker"][0]
        before = _rss(pid)
        asked = [await _sent(load, "slow", 1000)]
        most, lag = before, 0.0
        while not all(a.over.done() for a in asked[0]):
            most, lag = max(most, _rss(pid)), max(lag, await _gauge(workers, "cauce_event_loop_lag_seconds"))
            await asyncio.sleep(0.2)
        return (
            f"1,000 threads waiting for a model of 10 s in one worker: RSS {most:.0f} MB ({before:.0f} MB before), longest "
            f"event-loop lag {lag * 1000:.0f} ms, {_quantiles(asked[0])} for the 10 s."
        )


async def first_token(system: System) -> str:
    """The delay of the first token beyond the model's own (0.02 s)."""
    async with system.workers(), Load(system.bootstrap, deltas=True) as load:
        await load.closed_loop(1, 5, tenants=["streaming"])
        answered = await load.closed_loop(1, 40, tenants=["streaming"])
        added = sorted((a.first_token - a.sent - 0.02) * 1000 for a in answered if a.first_token)
        return (
            f"Time to the first token added by the pipeline, one client: p50 {quantile(added, 0.5):.0f} ms, "
            f"p99 {quantile(added, 0.99):.0f} ms ({len(added)} of {len(answered)} answers had deltas)."
        )


async def workers(system: System) -> str:
    """One worker compared with two, where `max_running` of a worker is the limit."""
    rates = []
    for count in (1, 2):
        async with system.workers(count, max_running=8, tenant_running=8) as _, Load(system.bootstrap) as load:
            await load.closed_loop(32, 64, tenants=["quiet"])
            started = time.perf_counter()
            await load.closed_loop(32, 300 * count, tenants=["quiet", "loud"])
            rates.append(300 * count / (time.perf_counter() - started))
    return f"One worker with max_running = 8: {rates[0]:.1f} turns/s, two: {rates[1]:.1f}, {rates[1] / rates[0]:.2f} times that."


async def length(system: System) -> str:
    """A thread with 5 and with 2,000 messages: time and bytes of a turn."""
    async with system.workers() as workers, Load(system.bootstrap) as load:
        pids = [*workers.pids["worker"], *system.servers.values()]

        async def part(thread: str, turns: int) -> tuple[float, float]:
            before = sum(map(_written, pids))
            answered = [await load.ask("plain", thread) for _ in range(turns)]
            after = sum(map(_written, pids))
            latencies = sorted(a.seconds for a in answered)
            return quantile(latencies, 0.5) * 1000, (after - before) / turns / 1024

        thread, other = new_id("t"), new_id("t")
        await part(thread, 3)
        short = await part(thread, 60)
        for _ in range(18):
            await part(thread, 50)
        long = await part(thread, 60)
        await part(other, 3)
        again = await part(other, 60)
        return (
            f"A turn without a tool in a thread of 5 to 120 messages: p50 {short[0]:.0f} ms, {short[1]:.1f} KB written; "
            f"in one of 1,900 to 2,050: p50 {long[0]:.0f} ms, {long[1]:.1f} KB; in a new "
            f"thread beside it: p50 {again[0]:.0f} ms, {again[1]:.1f} KB (model 50 ms). SQLite writes whole pages."
        )


async def neighbours(system: System) -> str:
    """One partition with 100 normal threads, alone and beside a poisoned thread and a very slow one."""
    names = {tenant: _threads_of_partition(tenant, 100) for tenant in ("quiet", "veryslow", "failing")}
    async with system.workers() as _, Load(system.bootstrap) as load:

        async def normal() -> list[Asked]:
            rows = await asyncio.gather(*(_in_turn(load, "quiet", name, 3) for name in names["quiet"][:100]))
            return [asked for row in rows for asked in row]

        await normal()
        alone = await normal()
        disturbing = [
            asyncio.create_task(_in_turn(load, "veryslow", names["veryslow"][0], 1)),
            asyncio.create_task(_in_turn(load, "failing", names["failing"][0], 1)),
        ]
        for n in range(20):
            await load.garbage(f"failing:{names['failing'][n + 1]}")
        beside = await normal()
        await asyncio.gather(*disturbing)
        return (
            f"100 threads of one partition, alone: {_quantiles(alone)}; beside a thread of 8 s, a failing one and 20 records "
            f"that cannot be decoded: {_quantiles(beside)}."
        )


async def tenants(system: System) -> str:
    """A quiet tenant alone, and while another tenant posts 1,000 messages in a burst."""
    async with system.workers(tenant_running=24) as _, Load(system.bootstrap) as load:
        await load.closed_loop(4, 40, tenants=["quiet", "loud"])
        alone = await load.closed_loop(4, 120, tenants=["quiet"])
        flood = await _sent(load, "loud", 1000)
        beside = await load.closed_loop(4, 60, tenants=["quiet"])
        going = sum(not a.over.done() for a in flood)
        await asyncio.gather(*(a.over for a in flood))
        ratio = _p(beside, 0.99) / _p(alone, 0.99)
        return (
            f"A tenant with 4 clients, alone: {_quantiles(alone)}; while another one has 1,000 messages waiting "
            f"({going} still, at the end): {_quantiles(beside)}; p99 {ratio:.2f} times as long. "
            "`tenant_running` is 24, below what this machine can do."
        )


async def floods(system: System) -> str:
    """A quiet tenant alone, and while another one has a flood waiting behind a thread that is busy, beyond a worker's budgets."""
    async with system.workers() as _, Load(system.bootstrap) as load:
        await load.closed_loop(4, 40, tenants=["quiet"])
        alone = await load.closed_loop(4, 120, tenants=["quiet"])
        lines = [f"A tenant with 4 clients ({system.name}), alone: {_quantiles(alone)}"]
        for flood, count, size in (("90 messages of 850 KB", 90, 850_000), ("5,000 small ones", 5_000, 0)):
            thread = new_id("t")
            await load.send("busy", thread)
            for start in range(0, count, 10):
                sent = (load.send("busy", thread, padding=size) for _ in range(min(10, count - start)))
                await asyncio.gather(*sent)
            beside = await load.closed_loop(4, 120, tenants=["quiet"])
            ratio = _p(beside, 0.99) / _p(alone, 0.99)
            lines.append(
                f"while another one has {flood} behind a busy thread: {_quantiles(beside)}, p99 {ratio:.2f} times as long"
            )
        return "; ".join(lines) + "."


async def _in_turn(load: Load, tenant: str, thread: str, times: int) -> list[Asked]:
    return [await load.ask(tenant, thread) for _ in range(times)]


async def _sent(load: Load, tenant: str, count: int) -> list[Asked]:
    return list(await asyncio.gather(*(load.send(tenant, new_id("t")) for _ in range(count))))


def _threads_of_partition(tenant: str, count: int, partition: int = 0) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        thread = new_id("t")
        number = (murmur2(f"{tenant}:{thread}".encode()) & 0x7FFFFFFF) % PARTITIONS[PartitionSet.CONVERSATION]
        if number == partition:
            found.append(thread)
    return found


def _rss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _written(pid: int) -> int:
    """Bytes that a process has written to files (proc(5); data sent through sockets with send(2) does not count)."""
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("wchar:"):
            return int(line.split()[1])
    return 0


async def _gauge(workers: Workers, name: str) -> float:
    def read() -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{workers.health['worker'][0]}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    text = await asyncio.to_thread(read)
    return max((float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)), default=0.0)


def _p(asked: Sequence[Asked], q: float) -> float:
    return quantile(sorted(a.seconds for a in asked), q)


def _quantiles(asked: Sequence[Asked]) -> str:
    return f"p50 {_p(asked, 0.5):.2f} s, p99 {_p(asked, 0.99):.2f} s"
