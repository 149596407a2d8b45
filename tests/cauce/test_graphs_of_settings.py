"""A graph of one's own beside the settings file, as its author runs it: `cauce up`, a record, an answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from running_system import RunningSystem

from connectors.chat_client import ChatClient
from schemas import (
    Envelope,
    GraphCommand,
    GraphInput,
    GraphRequest,
    GraphStreamed,
    MessageAdded,
    RunCompleted,
    RunPaused,
    ThreadEvent,
    Topic,
    new_id,
)
from streams.kafka_servers import Kafka, new_producer

GRAPH = """
from typing import Annotated, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt


class State(TypedDict):
    messages: Annotated[list, add_messages]


def greet(state: State) -> State:
    name = interrupt("What is your name?")
    return {"messages": [{"role": "assistant", "content": f"Hello {name}"}]}


builder = StateGraph(State)
builder.add_node("greet", greet)
builder.add_edge(START, "greet")
builder.add_edge("greet", END)
graph = builder.compile()
"""


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    folder = tmp_path_factory.mktemp("hosting")
    (folder / "greeter.py").write_text(GRAPH)
    (folder / "cauce.toml").write_text('[graphs]\ngreeter = "./greeter.py:graph"\n')
    running = RunningSystem(folder)
    try:
        yield running.start()
    finally:
        running.end()


async def _ask(client: ChatClient, kafka: Kafka, body: GraphInput, run_id: str) -> list[ThreadEvent]:
    """Sends the input; the events of the run until it waits or ends."""
    listener, found = await client.listen(deltas=False), list[ThreadEvent]()
    producer = new_producer(bootstrap_servers=kafka)
    await producer.start()
    try:
        envelope = Envelope(new_id("m"), GraphInput.TYPE, "test", "home", datetime.now(UTC))
        headers: Any = list(envelope.headers())
        await producer.send_and_wait(Topic.CHAT_MESSAGES.value, body.to_bytes(), key=b"home:greeted", headers=headers)
        async with asyncio.timeout(120):
            async for event in listener.run("greeted", run_id):
                assert isinstance(event, ThreadEvent)
                found.append(event)
    finally:
        await producer.stop()
        await listener.close()
    return found


async def test_a_graph_of_ones_own_asks_and_answers(hosting: RunningSystem) -> None:
    async with ChatClient(hosting.kafka, "home", "owner") as client:
        hello = {"messages": [{"role": "user", "content": "hi there"}]}
        request = GraphRequest(graph="greeter", input=hello, modes=("updates",))
        first = await _ask(
            client,
            hosting.kafka,
            GraphInput(user_id="owner", agent_id="greeter", run_id="r1", request=request),
            "r1",
        )
        assert isinstance(first[-1], RunPaused)
        assert first[-1].interrupts[0].value == "What is your name?"
        answer = GraphRequest(graph="greeter", command=GraphCommand(resumes=True, resume="Eva"), modes=("updates",))
        rest = await _ask(client, hosting.kafka, GraphInput(user_id="owner", agent_id="greeter", request=answer), "r1")
    assert isinstance(rest[-1], RunCompleted)
    assert any(isinstance(event, GraphStreamed) and "greet" in event.data for event in rest)
    (added,) = [event.message for event in rest if isinstance(event, MessageAdded)]
    assert (added.role, added.text) == ("assistant", "Hello Eva")
    assert "hi there" in hosting.told("threads", "list")


def test_graph_that_cannot_be_loaded_is_said_at_start_and_costs_the_others_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "greeter.py").write_text(GRAPH)
    lines = ['broken = "./broken.py:graph"', 'greeter = "./greeter.py:graph"', 'needy = "./greeter.py:needy"']
    (tmp_path / "greeter.py").write_text(f"{GRAPH}\ndef needy(config, database):\n    return graph\n")
    (tmp_path / "cauce.toml").write_text("[graphs]\n" + "\n".join(lines) + "\n")
    system = RunningSystem(tmp_path)
    try:
        system.start()
        words = system.output.read_text()
        assert re.search(r"Graphs\S* +greeter\n", words)
        assert re.search(r"Not served.*'broken'.*No module named 'no_such_module_at_all'", words)
        assert re.search(r"Not served.*'needy' needs database", words)
        assert "Traceback" not in words
        assert "not served" in (tmp_path / "var" / "logs" / "worker.log").read_text()
    finally:
        system.end()
