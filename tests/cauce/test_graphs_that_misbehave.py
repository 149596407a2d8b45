"""However a hosted graph ends, or refuses to: its own run says so, and nobody else's is hurt."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from running_system import RunningSystem
from waiting import until

from cauce.running import find_gateway, is_alive
from cauce.settings import load_settings

GRAPHS = Path(__file__).parent / "misbehaving_graphs.py"
NAMES = (
    "fine", "plain", "exits", "sync_exits", "interrupted", "sync_interrupted", "panics", "sync_panics", "closes", "stops",
    "several", "cancelled", "by_the_way", "make_exits", "make_exits_later", "make_panics", "make_stops", "make_cancelled",
    "make_cleans_up_for_ever", "refuses", "make_refuses", "blocks", "waits", "kills",
)  # fmt: skip
SLEEPERS = 13


class Hosting:
    """A system that hosts them, and the folder in which they leave marks."""

    def __init__(self, folder: Path) -> None:
        self.marks = folder / "marks"
        self.marks.mkdir()
        graphs = ",".join(f"{name}={GRAPHS}:{name}" for name in NAMES)
        self.system = RunningSystem(
            folder, CAUCE_GATEWAY_PORT="0", CAUCE_GRAPHS=graphs, MARKS=str(self.marks), CAUCE_GRACE_SECONDS="1"
        ).start()
        self.key = self.system.told("tenant", "key", "create", "home").strip()
        note = find_gateway(load_settings(environment=self.system.environment))
        assert note
        self.url = note.url

    def client(self) -> LangGraphClient:
        return get_client(url=f"{self.url}/lg", api_key=self.key)

    @property
    def worker(self) -> int:
        """Its process."""
        assert self.system.running
        return self.system.running.children["worker"]


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosting]:
    made = None
    try:
        made = Hosting(tmp_path_factory.mktemp("misbehaving"))
        yield made
    finally:
        if made:
            made.system.end()


@pytest.fixture
async def client(hosting: Hosting) -> AsyncIterator[LangGraphClient]:
    async with hosting.client() as client:
        yield client


async def run(client: LangGraphClient, graph: str) -> tuple[dict[str, Any], Any]:
    """The run and what waiting for it gives."""
    thread = (await client.threads.create())["thread_id"]
    value = await client.runs.wait(thread, graph, input={"done": "no"}, raise_error=False)
    return dict((await client.runs.list(thread))[0]), value


ENDS = {
    "exits": "SystemExit",
    "sync_exits": "SystemExit",
    "interrupted": "KeyboardInterrupt",
    "sync_interrupted": "KeyboardInterrupt",
    "panics": "out of bounds",
    "sync_panics": "out of bounds",
    "closes": "",
    "stops": "",
    "several": "BaseExceptionGroup",
    "cancelled": "Cancelled",
    "make_exits": "no licence",
    "make_exits_later": "no licence",
    "make_panics": "no memory",
    "make_stops": "StopIteration",
    "make_cancelled": "CancelledError",
}
"""Graphs, and what their users are told of how they ended."""


async def test_graph_that_ends_in_any_way_fails_its_own_run_and_no_other(
    hosting: Hosting, client: LangGraphClient
) -> None:
    worker = hosting.worker
    async with asyncio.timeout(120):
        beside, *failed = await asyncio.gather(run(client, "fine"), *(run(client, graph) for graph in ENDS))
        by_the_way, _ = await run(client, "by_the_way")
    assert (beside[0]["status"], by_the_way["status"]) == ("success", "success")
    for (graph, words), (ended, told) in zip(ENDS.items(), failed, strict=True):
        assert (graph, ended["status"]) == (graph, "error")
        assert words in str(told["__error__"]), graph
    assert hosting.worker == worker
    assert is_alive(worker)
    assert "no dead letters" in hosting.system.told("dlq", "list").lower()


@pytest.mark.parametrize("graph", ["refuses", "make_refuses", "blocks"])
async def test_graph_that_refuses_to_end_is_left_behind_when_its_run_is_cancelled(
    hosting: Hosting, client: LangGraphClient, graph: str
) -> None:
    mark = hosting.marks / graph.removeprefix("make_")
    mark.unlink(missing_ok=True)
    thread = (await client.threads.create())["thread_id"]
    going = await client.runs.create(thread, graph, input={})
    async with asyncio.timeout(120):
        while not mark.exists():
            await asyncio.sleep(0.05)
        await client.runs.cancel(thread, going["run_id"], wait=True)
        assert (await client.runs.get(thread, going["run_id"]))["status"] == "interrupted"
        await client.runs.wait(thread, "fine", input={"done": "no"})
    assert (await client.threads.get_state(thread))["values"] == {"done": "yes"}


async def test_what_a_graph_cleans_up_does_not_keep_its_run_waiting(client: LangGraphClient) -> None:
    async with asyncio.timeout(120):
        ended, value = await run(client, "make_cleans_up_for_ever")
    assert (ended["status"], value) == ("success", {"done": "yes"})


async def test_plain_function_does_not_wait_for_others_that_block(hosting: Hosting, client: LangGraphClient) -> None:
    waiting = [asyncio.create_task(run(client, "waits")) for _ in range(SLEEPERS)]
    async with asyncio.timeout(120):
        while len(list(hosting.marks.glob("waits-*"))) < SLEEPERS:
            await asyncio.sleep(0.05)
        (ended, _), (made, _) = await asyncio.gather(run(client, "plain"), run(client, "make_exits"))
        assert (ended["status"], made["status"]) == ("success", "error")
        assert not any(task.done() for task in waiting)
        (hosting.marks / "enough").touch()
        assert {ended["status"] for ended, _ in await asyncio.gather(*waiting)} == {"success"}


async def test_graph_that_kills_its_worker_fails_its_own_run_after_three_deaths_and_no_other(
    hosting: Hosting, client: LangGraphClient
) -> None:
    async with asyncio.timeout(120):
        (killed, _), (beside, _) = await asyncio.gather(run(client, "kills"), run(client, "fine"))
    assert (killed["status"], beside["status"]) == ("error", "success")
    assert len((hosting.marks / "kills").read_text()) <= 3


async def test_thread_that_blocks_for_ever_does_not_keep_the_system_from_stopping(
    hosting: Hosting, client: LangGraphClient
) -> None:
    mark = hosting.marks / "blocks"
    mark.unlink(missing_ok=True)
    thread = (await client.threads.create())["thread_id"]
    await client.runs.create(thread, "blocks", input={})
    await asyncio.to_thread(until, mark.exists)
    worker = hosting.worker
    os.kill(worker, signal.SIGTERM)  # the supervisor, which would be less patient, is not asked
    await asyncio.to_thread(until, lambda: not is_alive(worker))
    log = hosting.system.data / "logs" / "worker.log"
    assert "exiting although" in log.read_text()
