"""Two workers of each group on Apache Kafka and Cassandra: the conversation of the README, and workers that end mid-turn."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from emulated import bearer
from talking import effects, talk
from waiting import until
from worker_processes import OnServers, WorkerProcess

from schemas import RunCompleted

GROUPS = ("turns", "turns", "tools", "tools", "audit", "audit")
THREADS = 12


@pytest.fixture(scope="module")
def fleet(servers: OnServers) -> Iterator[list[WorkerProcess]]:
    with servers.workers(*GROUPS) as started:
        yield started


@pytest.fixture
def workers(servers: OnServers, fleet: list[WorkerProcess]) -> list[WorkerProcess]:
    """Two ready workers of each group; those that the test before ended are replaced."""
    servers.replace_ended(fleet)
    return fleet


def test_the_conversation_of_the_readme(servers: OnServers, workers: list[WorkerProcess]) -> None:
    mail = servers.json("ask", "what mail do I have?", "--thread", "t1")
    assert mail["state"] == "completed"
    assert mail["tool_calls"], "no tool was called"
    assert servers.json("ask", "hello", "--thread", "t1")["text"]

    asked = servers.cauce("ask", "create a task to call Ana tomorrow", "--thread", "t2")
    assert asked.returncode == 4, asked.stderr
    done = servers.json("ask", "create a task to call Bea tomorrow", "--thread", "t3", "--yes")
    assert [call["status"] for call in done["tool_calls"]] == ["ok"]
    assert set(asyncio.run(effects(servers, "")).values()) == {1}
    assert not asyncio.run(effects(servers, "Ana")), "done without approval"

    shown = servers.json("threads", "show", "t1")
    assert "what mail do I have?" in json.dumps(shown)
    until(lambda: "tool" in servers.told("audit", "export"))


@pytest.mark.parametrize("group", ["turns", "tools", "audit"])
def test_each_group_is_shared_by_its_two_workers(workers: list[WorkerProcess], group: str) -> None:
    half = 2 if group == "audit" else 4
    both = [worker for worker in workers if worker.group == group]
    until(lambda: [worker.metric("cauce_slots_open") for worker in both] == [half, half])


async def test_a_worker_stopped_mid_turn_loses_nothing(servers: OnServers, workers: list[WorkerProcess]) -> None:
    async with talk(servers, "slow") as talking:
        runs = await talking.say(*(f"stop {n}" for n in range(THREADS)))
        turns = [worker for worker in workers if worker.group == "turns"]
        async with asyncio.timeout(120):
            while sum([worker.metric("cauce_records_running") for worker in turns]) < THREADS:
                await asyncio.sleep(0.05)
        leaving = max(turns, key=lambda worker: worker.metric("cauce_records_running"))
        leaving.terminate()
        assert await asyncio.to_thread(leaving.wait) == 0
        await talking.ended_once(runs)
        await talking.ended_once(await talking.say("after the stop"))


@pytest.mark.parametrize("group", ["turns", "tools"])
async def test_a_killed_worker_is_replaced_and_no_side_effect_is_repeated(
    servers: OnServers, workers: list[WorkerProcess], group: str
) -> None:
    async with httpx.AsyncClient(
        base_url=servers.environment["CAUCE_ARCADE_URL"],
        headers=bearer(servers.environment["ARCADE_API_KEY"]),
        trust_env=False,
        timeout=120,
    ) as client:
        slow = {"kind": "slow", "match": "CreateTask", "seconds": 1, "times": THREADS}
        (await client.post("/_ctl/fault", json=slow)).raise_for_status()
    async with talk(servers, "eager") as talking:
        names = [f"call {group} {n}" for n in range(THREADS)]
        runs = await talking.say(*(f"create a task to {name}" for name in names))
        doomed = next(worker for worker in workers if worker.group == group)
        async with asyncio.timeout(120):
            while not doomed.metric("cauce_records_running"):
                await asyncio.sleep(0.005)
        doomed.kill()
        await talking.ended_once(runs)
        assert talking.kinds == {RunCompleted.TYPE: THREADS}
    made = await effects(servers, f"all {group} ")
    assert set(made.values()) == {1}, "a task was made twice"
    # A call whose sender was killed before it was carried out: not made again, and the user is told so.
    assert talking.tools == +Counter(ok=len(made), unknown=THREADS - len(made))
    assert len(made) == THREADS or group == "tools"
