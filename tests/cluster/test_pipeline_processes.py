"""Two workers of each group on Apache Kafka and Cassandra: the conversation of the README, and workers that end mid-turn."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from waiting import until
from worker_processes import OnServers, WorkerProcess

from connectors.chat_client import ChatClient
from connectors.emulators import EmulatorProcess
from deploy.cluster import CassandraServer, KafkaServer
from schemas import TERMINAL_TYPES, RunCompleted, ToolFinished, Topic
from streams.kafka_clients import close_consumer

GROUPS = ("turns", "turns", "tools", "tools", "audit", "audit")
THREADS = 12
_ENDS = {t.encode() for t in TERMINAL_TYPES}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, cassandra: CassandraServer) -> Iterator[OnServers]:
    """A Kafka of this module's own, tenants, and the emulated tools."""
    folder = tmp_path_factory.mktemp("pipeline")
    emulators = EmulatorProcess(folder / "emulators")
    with KafkaServer(folder / "kafka") as kafka, asyncio.Runner() as runner:
        runner.run(emulators.start())
        on = OnServers(
            folder,
            CAUCE_KAFKA=kafka.bootstrap,
            CAUCE_CASSANDRA=f"{cassandra.contact_point}:{cassandra.port}",
            CAUCE_MODEL="rules",
            CAUCE_ARCADE_URL=emulators.base_url,
            ARCADE_API_KEY=emulators.api_key,
        )
        on.told("topics", "apply")
        on.told("state", "migrate")
        on.told("tenant", "add", "home")
        on.told("tenant", "add", "slow")
        on.told("tenant", "set", "slow", "--model", "scripted:delay=1.5")
        on.told("tenant", "add", "eager")
        on.told("tenant", "set", "eager", "--approvals", "never")
        try:
            yield on
        finally:
            runner.run(emulators.stop())


@pytest.fixture(scope="module")
def fleet(servers: OnServers) -> Iterator[list[WorkerProcess]]:
    with servers.workers(*GROUPS) as started:
        yield started


@pytest.fixture
def workers(servers: OnServers, fleet: list[WorkerProcess]) -> list[WorkerProcess]:
    """Two ready workers of each group; those that the test before ended are replaced."""
    servers.replace_ended(fleet)
    return fleet


class Talk:
    """Messages to a tenant, and a count of the committed ends of their runs, repeats included."""

    def __init__(self, client: ChatClient) -> None:
        self._client = client
        self.ends: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.tools: Counter[str] = Counter()
        """Tool calls by the status that was told."""

    async def say(self, *texts: str) -> list[str]:
        """Sends each text in a thread of its own; the ids of their runs."""
        return [await self._client.send(f"{text.replace(' ', '-')}", text) for text in texts]

    async def read(self, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            kind, event = dict(record.headers)["ce_type"], json.loads(record.value)
            if kind in _ENDS:
                self.ends[event["run_id"]] += 1
                self.kinds[kind.decode()] += 1
            elif kind == ToolFinished.TYPE.encode():
                self.tools[event["status"]] += 1

    async def ended_once(self, runs: list[str], seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while not all(self.ends[run] for run in runs):
                await asyncio.sleep(0.05)
        assert [self.ends[run] for run in runs] == [1] * len(runs)


@asynccontextmanager
async def talk(servers: OnServers, tenant: str) -> AsyncIterator[Talk]:
    kafka = servers.environment["CAUCE_KAFKA"]
    consumer = AIOKafkaConsumer(
        Topic.CHAT_RESPONSES.value,
        bootstrap_servers=kafka,
        auto_offset_reset="latest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    await asyncio.gather(*(consumer.position(tp) for tp in consumer.assignment()))
    async with ChatClient(kafka, tenant, "owner") as client:
        talking = Talk(client)
        reading = asyncio.create_task(talking.read(consumer))
        try:
            yield talking
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            await close_consumer(consumer)


async def effects(servers: OnServers, text: str) -> Counter[str]:
    """How often a task whose name contains `text` was made, by name."""
    async with httpx.AsyncClient(base_url=servers.environment["CAUCE_ARCADE_URL"], trust_env=False) as client:
        made = (await client.get("/_ctl/effects")).json()["effects"]
    return Counter(name for e in made if text in (name := str(e.get("name", ""))))


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
        async with asyncio.timeout(30):
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
    async with httpx.AsyncClient(base_url=servers.environment["CAUCE_ARCADE_URL"], trust_env=False) as client:
        slow = {"kind": "slow", "match": "CreateTask", "seconds": 1, "times": THREADS}
        (await client.post("/_ctl/fault", json=slow)).raise_for_status()
    async with talk(servers, "eager") as talking:
        names = [f"call {group} {n}" for n in range(THREADS)]
        runs = await talking.say(*(f"create a task to {name}" for name in names))
        doomed = next(worker for worker in workers if worker.group == group)
        async with asyncio.timeout(30):
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
