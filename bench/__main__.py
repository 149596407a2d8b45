"""Measures turns per second, latency, CPU and where the time goes: `make bench`, or
`python -m bench [--only embedded,cluster,floor,scenarios,http,streams] [--turns N] [--clients 1,32,256]`.

The fake model takes 2 x 0.2 s and the tool 0.05 s, so a turn takes at least 0.45 s, and 32 clients can reach 71 turns/s.
Load, workers and servers share this machine; compare rows of one run, not runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench import floor, http_load, in_process, scenarios, stream_capacity, systems
from bench.figures import Figures, table
from bench.load import Load, warm_up
from bench.stages import Stages, picture, scrape, stages
from bench.stages import table as stage_table

RESULTS = Path(__file__).parent / "results"
SYSTEMS = {"embedded": systems.embedded, "cluster": systems.cluster}


@dataclass
class Results:
    """What was measured."""

    rows: list[Figures] = field(default_factory=list)
    stages: list[Stages] = field(default_factory=list)
    floor: list[floor.Part] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
    http: list[Figures] = field(default_factory=list)
    streams: list[stream_capacity.Held] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        default="embedded,cluster,floor,scenarios,http,streams",
        help="what to measure besides LangGraph in process; floor belongs to cluster, http uses both systems",
    )
    parser.add_argument("--clients", default="1,32,256", help="numbers of closed-loop clients")
    parser.add_argument(
        "--turns", type=int, default=800, help="turns for 32 clients; proportional for others, at least 20"
    )
    options = parser.parse_args()
    cases = [(c, max(20, options.turns * min(c, 64) // 32)) for c in map(int, options.clients.split(","))]
    results = asyncio.run(measure(options.only.split(","), cases, options.turns))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"turns-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    if results.rows:
        print("\n" + table(results.rows))
    if results.stages:
        picture(results.stages, path.with_suffix(".svg"))
        print("\n" + stage_table(results.stages) + f"\n\npicture: {path.with_suffix('.svg')}")
    if results.floor:
        print("\n" + floor.table(results.floor))
    if results.http:
        print("\n" + http_load.table(results.http))
    if results.streams:
        print("\n" + stream_capacity.table(results.streams))
    print("".join(f"\n- {line}" for line in results.report))
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
    path.write_text(json.dumps({"machine": machine, **asdict(results)}, indent=2))
    print(f"\nsaved as {path}")
    return 1 if any(r.unanswered or r.repeated for r in [*results.rows, *results.http]) else 0


async def measure(wanted: list[str], cases: list[tuple[int, int]], turns: int) -> Results:
    """The measurements that were requested; `turns` are those of each path in each round of `http`."""
    results = Results()
    chosen = [name for name in SYSTEMS if name in wanted]
    for clients, asked in cases if chosen else ():
        print(f"LangGraph in process, {clients} clients ...", flush=True)
        results.rows.append(await in_process.run(clients, asked))
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            print(f"{name}: starting ...", flush=True)
            place = Path(folder) / name
            place.mkdir()
            async with SYSTEMS[name](place) as system:
                await turns_of(system, cases, results)
                if name == "cluster" and "floor" in wanted:
                    results.floor = await floor.run(system)
        if "scenarios" in wanted:
            results.report = await scenarios.run(Path(folder) / "scenarios")
        for name in SYSTEMS if "http" in wanted else ():
            print(f"HTTP, {name}: starting ...", flush=True)
            place = Path(folder) / f"{name}-http"
            place.mkdir()
            async with SYSTEMS[name](place) as system:
                results.http += await http_load.run(system, turns)
        if "streams" in wanted:
            results.streams = await stream_capacity.run(Path(folder) / "streams")
    results.rows.sort(key=lambda r: r.clients)
    return results


async def turns_of(system: systems.System, cases: list[tuple[int, int]], results: Results) -> None:
    """Measures one system; returns its rows and stages."""
    async with system.workers() as workers, Load(system.bootstrap) as load:
        await warm_up(load, list(system.servers.values()))
        for clients, turns in cases:
            results.rows.append(await load.measure(system.name, clients, turns, workers.pids))
            print(f"  {clients} clients: {results.rows[-1].per_second} turns/s", flush=True)
            if clients <= 32:
                before = await scrape(workers)
                asked = await load.closed_loop(clients, min(turns, 300))
                after = await scrape(workers)
                results.stages.append(
                    stages(f"{system.name}, {clients} client{'s' * (clients > 1)}", before, after, asked)
                )


if __name__ == "__main__":
    sys.exit(main())
