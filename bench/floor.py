"""The cost of a turn in the libraries alone: the calls that a turn makes, one kind at a time, without our own code.

Each is made by 32 concurrent tasks in this process, on Apache Kafka and Cassandra; this process's CPU time is measured.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from bench.systems import System, process
from schemas import Topic
from streams.kafka_servers import new_consumer, new_producer

TASKS, CALLS = 32, 960


@dataclass(frozen=True)
class Part:
    """One kind of call: how often a turn makes it, and its CPU milliseconds."""

    name: str
    a_turn: float
    ms: float

    @property
    def of_a_turn(self) -> float:
        """CPU milliseconds per turn."""
        return self.a_turn * self.ms


async def run(system: System) -> list[Part]:
    """The parts of a turn of two legs with one tool call."""
    # While the markers of a transaction are being written, Kafka refuses the next one, and aiokafka logs a warning.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    return [await _langgraph(), *await _cassandra(system), await _arcade(system), *await _kafka(system)]


def table(parts: list[Part]) -> str:
    """The parts as Markdown."""
    lines = ["| library call | a turn | CPU ms each | CPU ms a turn |", "|---|---|---|---|"]
    lines += [f"| {p.name} | {p.a_turn:g} | {p.ms:.2f} | {p.of_a_turn:.2f} |" for p in parts]
    return "\n".join([*lines, f"| together | | | **{sum(p.of_a_turn for p in parts):.1f}** |"])


async def _cost(name: str, a_turn: float, call: Callable[[], Awaitable[Any]]) -> Part:
    async def task() -> None:
        for _ in range(CALLS // TASKS):
            await call()

    await asyncio.gather(*(task() for _ in range(TASKS)))  # warms up
    started = time.process_time()
    await asyncio.gather(*(task() for _ in range(TASKS)))
    return Part(name, a_turn, (time.process_time() - started) * 1000 / (CALLS // TASKS * TASKS))


async def _langgraph() -> Part:
    """`create_agent` with an in-memory saver: a whole turn, without the delays of model and tool."""
    from langchain.agents import create_agent
    from langchain_core.tools import tool
    from langgraph.checkpoint.memory import InMemorySaver

    from connectors.models.scripted import ScriptedChatModel

    @tool("Bench_Echo")
    async def echo(text: str) -> str:
        """Returns its argument."""
        return text

    agent: Any = create_agent(ScriptedChatModel(tool="Bench_Echo"), [echo], checkpointer=InMemorySaver())

    async def turn() -> None:
        config = {"configurable": {"thread_id": secrets.token_hex(8)}}
        await agent.ainvoke({"messages": [("user", "hi")]}, config, durability="exit")

    return await _cost("LangGraph's `create_agent`, a whole turn in memory", 1, turn)


async def _cassandra(system: System) -> list[Part]:
    """The driver with a callback and rows as tuples; rows have the size of a turn's."""
    from cassandra.cluster import Cluster
    from cassandra.query import BatchStatement, BatchType, tuple_factory

    host, _, port = system.state["CAUCE_CASSANDRA"].partition(":")
    cluster = Cluster([host], port=int(port), protocol_version=5)
    session = await asyncio.to_thread(cluster.connect, "cauce")
    session.row_factory = tuple_factory
    loop = asyncio.get_running_loop()
    key = "tenant_id, thread_id"
    prepared = [
        session.prepare(cql)
        for cql in (
            "UPDATE threads SET version = 1 WHERE tenant_id = ? AND thread_id = ? IF version = null",
            f"INSERT INTO threads ({key}, kind, seq, id, body) VALUES (?, ?, 1, ?, '', ?)",
            "INSERT INTO tool_calls (tenant_id, call_id, identity, state, owner) VALUES ('f', ?, ?, 'sent', 'o') "
            "IF NOT EXISTS",
            "UPDATE tool_calls SET state = 'done', result = ? WHERE tenant_id = 'f' AND call_id = ? IF owner = 'o'",
        )
    ]
    advance, insert, claim, finish = prepared

    async def execute(statement: Any, values: Any = None) -> None:
        done = loop.create_future()
        session.execute_async(statement, values).add_callbacks(
            lambda rows: loop.call_soon_threadsafe(done.set_result, rows),
            lambda error: loop.call_soon_threadsafe(done.set_exception, error),
        )
        await done

    async def commit() -> None:
        thread = secrets.token_hex(8)
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.add(advance, ("f", thread))
        for number, size in enumerate((2900, 400, 300, 300, 300, 300, 300, 300)):
            batch.add(insert, ("f", thread, number, b"x" * size))
        await execute(batch)

    async def ledger() -> None:
        call = secrets.token_hex(8)
        await execute(claim, (call, b"x" * 300))
        await execute(finish, (b"x" * 200, call))

    parts = [
        await _cost("cassandra-driver: a conditional batch of 9 statements", 2, commit),
        await _cost("cassandra-driver: claim and finish of a tool call", 1, ledger),
    ]
    await asyncio.to_thread(cluster.shutdown)
    return parts


async def _arcade(system: System) -> Part:
    """arcadepy, with our transport."""
    import arcadepy

    async with process("-m", "bench.echo_arcade", environment={}, log=system.folder / "floor.log") as (_, url):
        client = arcadepy.AsyncArcade(
            api_key="bench", base_url=url, max_retries=0, http_client=arcadepy.DefaultAioHttpClient()
        )
        part = await _cost(
            "arcadepy: a tool call",
            1,
            lambda: client.tools.execute(tool_name="Bench.Echo", input={"text": "hi"}, user_id="u"),
        )
        await client.close()
    return part


async def _kafka(system: System) -> list[Part]:
    """aiokafka: records of 350 bytes with seven headers."""
    headers = [(f"ce_{n}", b"x" * 20) for n in range(7)]
    sender = new_producer(bootstrap_servers=system.bootstrap, enable_idempotence=True, linger_ms=2)
    await sender.start()
    topic = Topic.CHAT_DELTAS.value

    async def send() -> None:
        await sender.send_and_wait(topic, b"x" * 350, key=secrets.token_bytes(8), headers=headers)

    sent = await _cost("aiokafka: a record sent and acknowledged", 3, send)
    reader = new_consumer(
        topic, bootstrap_servers=system.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await reader.start()
    started, count = time.process_time(), 0
    while count < CALLS:
        found = await reader.getmany(timeout_ms=1000, max_records=4)
        count += sum(map(len, found.values()))
    received = Part("aiokafka: a record received, four at a time", 5, (time.process_time() - started) * 1000 / count)
    await reader.stop()
    await sender.stop()
    producers = [
        new_producer(bootstrap_servers=system.bootstrap, transactional_id=f"floor-{n}", retry_backoff_ms=10)
        for n in range(8)
    ]
    for producer in producers:
        await producer.start()
    free: asyncio.Queue[AIOKafkaProducer] = asyncio.Queue()
    for producer in producers:
        free.put_nowait(producer)

    async def transaction() -> None:
        producer = await free.get()
        await producer.begin_transaction()
        acks = [
            await producer.send(Topic.CHAT_RESPONSES.value, b"x" * 350, key=b"f:f", headers=headers) for _ in range(5)
        ]
        offsets = {TopicPartition(Topic.CHAT_MESSAGES.value, 0): OffsetAndMetadata(0, "")}
        await producer.send_offsets_to_transaction(offsets, "floor")
        await producer.commit_transaction()
        await asyncio.gather(*acks)
        free.put_nowait(producer)

    transacted = await _cost("aiokafka: a transaction with 5 records and offsets", 1.5, transaction)
    for producer in producers:
        await producer.stop()
    return [sent, received, transacted]
