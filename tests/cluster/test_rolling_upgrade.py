"""Workers are replaced by those of a newer version, one by one, while people talk; and back again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from talking import effects, talk
from worker_processes import OnServers, WorkerProcess

from schemas import RunCompleted, ThreadHead
from state import open_stores

NEWER = (sys.executable, str(Path(__file__).parent / "newer_cauce.py"))
GROUPS = ("turns", "turns", "tools", "tools", "audit")


async def head_of(servers: OnServers, thread: str) -> ThreadHead:
    stores = open_stores(f"cassandra://{servers.environment['CAUCE_CASSANDRA']}/cauce?rf=1")
    await stores.open()
    try:
        head = (await stores.journal.hydrate("eager", thread, window=0)).head
        assert head
        return head
    finally:
        await stores.close()


MOST_OPEN = 30
"""Runs that wait for their ends at once: a machine on which an upgrade takes longer must not get more to do meanwhile."""


async def exchange(servers: OnServers, workers: list[WorkerProcess], program: tuple[str, ...]) -> None:
    """One after the other, as an operator does it: stop one, start one of the other version, wait until it is ready."""
    for position, worker in enumerate(workers):
        worker.terminate()
        assert await asyncio.to_thread(worker.wait) == 0
        workers[position] = servers.worker(worker.group, program)
        async with asyncio.timeout(180):
            while not workers[position].is_ready():
                await asyncio.sleep(0.05)


async def test_workers_of_two_versions_work_side_by_side_while_turns_run(servers: OnServers) -> None:
    with servers.workers(*GROUPS) as workers:
        usual = workers[0].program
        async with talk(servers, "eager") as talking:
            runs: list[str] = []
            going = asyncio.Event()

            async def chatter() -> None:
                while not going.is_set():
                    if sum(not talking.ends[run] for run in runs) > MOST_OPEN:
                        await asyncio.sleep(0.1)
                        continue
                    n = len(runs)
                    runs.extend(await talking.say(f"create a task to upgrade {n}"))
                    runs.append(await talking.again("one thread", f"hello {n}"))
                    await asyncio.sleep(0.1)

            chatting = asyncio.create_task(chatter())
            await exchange(servers, workers, NEWER)
            while (await head_of(servers, "one-thread")).model_extra != {"from_the_future": "yes"}:
                await asyncio.sleep(0.1)
            await exchange(servers, workers, usual)
            going.set()
            await chatting
            await talking.ended_once(runs)
            # A worker that does not know the field has written the head since, and has kept what it did not know.
            await talking.ended_once([await talking.again("one thread", "goodbye")])
            assert (await head_of(servers, "one-thread")).model_extra == {"from_the_future": "yes"}
            assert set(talking.kinds) == {RunCompleted.TYPE}
    made = await effects(servers, "pgrade ")  # the model writes a capital letter
    assert len(made) > 20
    assert set(made.values()) == {1}, "a task was made twice"
