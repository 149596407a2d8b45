"""`make chaos`: the pipeline on real Kafka and Cassandra under faults, with a load, a report and a picture.

make chaos                               15 minutes
python tests/chaos/chaos.py --seconds 0  every crash point once, and no more
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[n]) for n in range(3)]

import chaos_embedded  # noqa: E402
import httpx  # noqa: E402
from chaos_faults import PATIENCE, Faults  # noqa: E402
from chaos_fleet import Fleet  # noqa: E402
from chaos_load import Load  # noqa: E402
from chaos_report import Report  # noqa: E402
from chaos_vandal import Vandal  # noqa: E402

from bench.systems import TENANTS, prepare, process  # noqa: E402
from streams.kafka_clients import quieten_aiokafka  # noqa: E402

CLIENTS = 100
KINDS = [
    "crash",
    "kill",
    "stop",
    "freeze",
    "connections cut",
    "latency",
    "half open",
    "Kafka restarts",
    "Cassandra restarts",
]


async def run(folder: Path, seed: int, seconds: float, *, outages: bool) -> Report:
    """Every crash point once, then faults of all kinds until the time is up."""
    chance = random.Random(seed)
    fleet = Fleet(folder)
    started = time.monotonic()
    try:
        await fleet.start_servers()
        state = f"cassandra://127.0.0.1:{fleet.cassandra.port}/cauce?rf=1"
        await prepare(fleet.kafka.bootstrap, state)
        async with process("-m", "bench.echo_arcade", environment={}, log=folder / "tool.log") as (_, url):
            await fleet.start_workers(
                {"CAUCE_ARCADE_URL": url, "ARCADE_API_KEY": "chaos", "CAUCE_LOG_LEVEL": "warning"}
            )
            load = Load(fleet.kafka.bootstrap, TENANTS, CLIENTS, chance)
            await load.start()
            vandal = Vandal(fleet.kafka.bootstrap, TENANTS, load.book, random.Random(seed))
            vandal.start()
            await asyncio.sleep(5)
            print(f"running after {time.monotonic() - started:.0f} s; {CLIENTS} people talk", flush=True)
            faults = Faults(fleet, load, chance)
            began = time.monotonic()
            await faults.every_crash_point()
            while time.monotonic() - began < seconds:
                await faults.one_of([*KINDS, "outage"] if outages else KINDS)
            await vandal.stop(PATIENCE)
            await load.finish(PATIENCE)
            async with httpx.AsyncClient(trust_env=False) as client:
                effects = (await client.get(f"{url}/calls")).json()["by_text"]
            return Report(seed, load.book, faults.done, effects, fleet.model_calls, vandal)
    finally:
        await fleet.stop()


def main() -> int:
    """Runs the command; 0 when every promise and bound held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=900, help="of faults (900); every crash point is tried in any case"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the schedule (the time)")
    parser.add_argument("--embedded", action="store_true", help="the embedded system instead of Kafka and Cassandra")
    parser.add_argument("--outages", action="store_true", help="with outages of 30 s")
    parser.add_argument(
        "--patient",
        action="store_true",
        help=f"a recovery may take {PATIENCE:g} s, for a machine that does other things too",
    )
    parser.add_argument("--keep", type=Path, help="folder for logs, report and picture (a temporary one)")
    given = parser.parse_args()
    quieten_aiokafka()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what a restarting Kafka does to the load is no news
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if given.embedded:
            report = asyncio.run(chaos_embedded.run(folder, given.seed, given.seconds))
        else:
            report = asyncio.run(run(folder, given.seed, given.seconds, outages=given.outages))
        if given.patient:
            report.bound = PATIENCE
        print(report.text())
        if given.keep:
            (folder / "chaos.md").write_text(report.text() + "\n")
            report.picture(folder / "chaos.svg")
        elif not report.good and (log := folder / "workers.log").exists():
            print(f"--- the end of the workers' log\n{log.read_text(errors='replace')[-5000:]}")
    return not report.good


if __name__ == "__main__":
    os.environ.pop("CAUCE_KAFKA", None)
    sys.exit(main())
