"""Measures turns a second, latency and CPU: `python -m bench [--only embedded,cluster] [--turns N] [--clients 1,32]`.

The fake model takes 2 x 0.2 s and the tool 0.05 s, so 0.45 s is the floor of a turn, and 32 clients can reach 71 turns/s.
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
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench import in_process, pipeline
from bench.figures import Figures, table

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default="embedded,cluster", help="what to measure beside LangGraph in process")
    parser.add_argument("--clients", default="1,32", help="numbers of closed-loop clients")
    parser.add_argument(
        "--turns", type=int, default=800, help="turns for 32 clients; others in proportion, at least 20"
    )
    options = parser.parse_args()
    cases = [(c, max(20, options.turns * min(c, 64) // 32)) for c in map(int, options.clients.split(","))]
    rows = asyncio.run(measure(options.only.split(","), cases))
    print("\n" + table(rows))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"turns-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
    path.write_text(json.dumps({"machine": machine, "rows": [asdict(r) for r in rows]}, indent=2))
    print(f"\nsaved as {path}")
    return 1 if any(r.unanswered or r.repeated for r in rows) else 0


async def measure(systems: list[str], cases: list[tuple[int, int]]) -> list[Figures]:
    rows = []
    for clients, turns in cases:
        print(f"LangGraph in process, {clients} clients ...", flush=True)
        rows.append(await in_process.run(clients, turns))
    with tempfile.TemporaryDirectory() as folder:
        if "embedded" in systems:
            print("embedded: starting ...", flush=True)
            rows += await embedded(Path(folder) / "embedded", cases)
        if "cluster" in systems:
            print("Kafka + Cassandra: starting ...", flush=True)
            rows += await cluster(Path(folder) / "cluster", cases)
    return sorted(rows, key=lambda r: r.clients)


async def embedded(folder: Path, cases: list[tuple[int, int]]) -> list[Figures]:
    from streams.embedded import EmbeddedBroker

    async with EmbeddedBroker(folder / "kafka") as broker:
        return await pipeline.run(
            "embedded, one worker",
            bootstrap=broker.bootstrap,
            state={"CAUCE_DATA": str(folder)},
            state_url=f"sqlite://{folder / 'state'}",
            folder=folder,
            servers={"broker": broker.pid},
            cases=cases,
            together=True,
        )


async def cluster(folder: Path, cases: list[tuple[int, int]]) -> list[Figures]:
    from deploy.cluster import CassandraServer, KafkaServer

    kafka = KafkaServer(folder / "kafka", short_lived=False)
    # Cassandra's own default commit log, as nodes with replicas run.
    cassandra = CassandraServer(folder / "cassandra", survives_kill=False, short_lived=False)
    try:
        await asyncio.gather(asyncio.to_thread(kafka.start), asyncio.to_thread(cassandra.start))
        return await pipeline.run(
            "Kafka + Cassandra",
            bootstrap=kafka.bootstrap,
            state={"CAUCE_CASSANDRA": cassandra.address},
            state_url=f"cassandra://{cassandra.address}/cauce?rf=1",
            folder=folder,
            servers={"Kafka": kafka.pid, "Cassandra": cassandra.pid},
            cases=cases,
            together=False,
        )
    finally:
        await asyncio.gather(asyncio.to_thread(kafka.stop), asyncio.to_thread(cassandra.stop))


if __name__ == "__main__":
    sys.exit(main())
