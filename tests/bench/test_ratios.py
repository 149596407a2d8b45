"""Speed does not get lost unnoticed: ratios to LangGraph in process in the same run, never absolute times."""

import json
from pathlib import Path

import pytest

from bench import http_load, in_process
from bench.load import Load
from bench.systems import TENANTS, embedded

pytestmark = pytest.mark.alone
RECORDED = json.loads((Path(__file__).parents[2] / "bench" / "recorded.json").read_text())
SLACK = 0.7
"""Shared machines differ by a tenth from run to run, and this one may be busier in one half than in the other. What ran beside
one half of a round does not count: what is slower is slower in three rounds."""


FEW = 8
"""Clients whose work two slow cores have time for: with more of them, the rate says how many processes share the cores. What
those cost is compared as CPU time."""


async def test_the_embedded_system_is_as_fast_beside_bare_langgraph_as_it_was_recorded(tmp_path: Path) -> None:
    recorded = RECORDED["embedded"]
    rounds = []
    async with embedded(tmp_path) as system, system.workers() as workers, Load(system.bootstrap) as load:
        await load.closed_loop(32, 200)
        cheap = fast = quick = False
        while len(rounds) < 3 and not (cheap and fast and quick):
            full, bare = await load.measure("embedded", 32, 500, workers.pids), await in_process.run(32, 300)
            few, bare_few = await load.measure("embedded", FEW, 150, workers.pids), await in_process.run(FEW, 100)
            rounds.append((full, bare, few, bare_few))
            cost = full.cpu_ms["worker"] + full.cpu_ms["broker"]
            cheap = cheap or cost / bare.cpu_ms["process"] < recorded["cpu"] / SLACK
            fast = fast or few.per_second / bare_few.per_second > SLACK * recorded["per_second"]
            quick = quick or few.p50 / bare_few.p50 < recorded["p50"] / SLACK
    assert not any(measured.unanswered or measured.repeated for one in rounds for measured in one)
    assert (cheap, fast, quick) == (True, True, True), rounds


async def test_http_costs_as_little_beside_kafka_as_it_was_recorded(tmp_path: Path) -> None:
    recorded = RECORDED["http"]
    async with embedded(tmp_path) as system, system.workers() as workers:
        async with Load(system.bootstrap) as load:
            await load.closed_loop(32, 200)
        keys = await system.keys({tenant: ["u"] for tenant in TENANTS})
        rounds = []
        fast = quick = False
        while len(rounds) < 3 and not (fast and quick):
            rounds.append(await http_load.both(system, workers, keys, 200))
            fast = max(h.per_second / s.per_second for s, h in rounds) > SLACK * recorded["per_second"]
            quick = min(h.p50 / s.p50 for s, h in rounds) < recorded["p50"] / SLACK
    assert not any(http.unanswered or http.repeated for _, http in rounds)
    assert fast, rounds
    assert quick, rounds
