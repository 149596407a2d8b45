"""What tests of graph turns share: a turns processor that hosts the sample graphs, and the records for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import graphs_sample
import pytest
from turns_kit import System, opened_stores, record

from connectors.graphs import Graphs, StagingSaver, UserStore, rows_of, thread_state
from connectors.toolsets import Toolsets
from processors.settings_cache import TenantCache, UserCache
from processors.turns.agent_leg import Agent, AgentLeg
from processors.turns.graph_leg import GraphLeg
from processors.turns.leg import Leg
from processors.turns.processor import TurnsProcessor
from processors.turns.profile import Profiles
from processors.turns.state_changes import StateChanges
from schemas import (
    GraphCommand,
    GraphDelta,
    GraphInput,
    GraphPiece,
    GraphRequest,
    Output,
    RawRecord,
    Record,
    RunKind,
    RunLimits,
    ThreadHead,
    Topic,
    decode,
)


@pytest.fixture(autouse=True)
def _fresh_graphs() -> Iterator[None]:
    graphs_sample.ran.clear()
    graphs_sample.hooks.clear()
    yield
    graphs_sample.hooks.clear()


on_both_stores = pytest.mark.parametrize("hosting", ["sqlite", "cassandra"], indirect=True)
"""For tests of what the store has a part in."""


@pytest.fixture
async def hosting(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Hosting]:
    """A system with a tenant, on SQLite unless the test asks for both stores."""
    async with opened_stores(request, tmp_path, getattr(request, "param", "sqlite")) as stores:
        system = System(stores)
        await system.tenant("scripted:")
        yield Hosting(system)


class Hosting:
    """Workers that host the sample graphs on a system's stores."""

    def __init__(self, system: System, *, limits: RunLimits | None = None, trail_after: float = 60) -> None:
        self.system, self.stores = system, system.stores
        self.limits, self.trail_after = limits, trail_after
        self.pieces: list[tuple[str, GraphPiece]] = []
        self.graphs = Graphs(graphs_sample.SPECS)

    def processor(self) -> TurnsProcessor:
        profiles = Profiles(Toolsets([]), UserCache(self.stores.directory, ttl=0), self.system.model)
        hosted = (self.graphs, self.stores.journal, self.stores.items)
        legs: dict[RunKind, Leg] = {
            "agent": AgentLeg(Agent(), profiles, self.emit),
            "graph": GraphLeg(*hosted, self.emit, limits=self.limits, trail_after=self.trail_after),
        }
        states = StateChanges(*hosted, limits=self.limits)
        tenants = TenantCache(self.stores.directory, ttl=0)
        return TurnsProcessor(self.stores.journal, self.stores.ledger, tenants, legs, states)

    def emit(self, output: Output) -> None:
        body = decode(raw(output)).body
        if isinstance(body, GraphDelta):
            self.pieces += [(body.leg, piece) for piece in body.pieces]

    async def head(self, thread: str = "t1") -> ThreadHead:
        found = await self.stores.journal.hydrate("acme", thread, window=0)
        assert found.head
        return found.head

    async def state(self, graph: str, thread: str = "t1", checkpoint_id: str | None = None) -> dict[str, Any]:
        head = await self.head(thread)
        saver = StagingSaver(rows_of(self.stores.journal, "acme", thread), next_row=head.next_row)
        store = UserStore(self.stores.items, "acme", "u")
        place = {"thread_id": thread, "checkpoint_ns": ""} | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})
        hosted = await self.graphs.get(graph)
        async with hosted.bound(saver=saver, store=store, config={"configurable": place}) as bound:
            return thread_state(await bound.aget_state({"configurable": place}), thread_id=thread)


def run(graph: str, given: Any = None, thread: str = "t1", *, id: str | None = None, **fields: Any) -> Record:
    inputs = {name: fields.pop(name) for name in ("multitask_strategy", "metadata", "run_id") if name in fields}
    request = GraphRequest(graph=graph, input=given, **fields)
    return record(GraphInput(user_id="u", agent_id=graph, request=request, **inputs), thread, id=id)


async def crash(
    hosting: Hosting, one: Record, node: str, *, when: Callable[[], Awaitable[object]] | None = None
) -> None:
    """Processes a record up to this node, where the process ends, or `when` that has come."""
    there = asyncio.Event()

    async def die() -> None:
        if when:
            await when()
        there.set()
        await asyncio.Event().wait()

    graphs_sample.hooks[node] = die
    dying = asyncio.create_task(hosting.processor().process(one))
    await there.wait()
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying


def answer(graph: str, value: Any, **fields: Any) -> Record:
    return run(graph, command=GraphCommand(resumes=True, resume=value), **fields)


def say(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def raw(output: Output) -> RawRecord:
    return RawRecord(output.topic.value, 0, 0, 0, output.key.encode(), output.value, output.headers)


def events(outputs: Sequence[Output], kind: str = "") -> list[dict[str, Any]]:
    return [
        json.loads(o.value)
        for o in outputs
        if o.topic is Topic.CHAT_RESPONSES and dict(o.headers)["ce_type"].decode().startswith(f"cauce.{kind}")
    ]


def told(outputs: Sequence[Output], *, streamed: bool = False) -> list[str]:
    """Kinds of the thread's events; without what was streamed unless that is asked for."""
    kinds = [
        dict(o.headers)["ce_type"].decode().removeprefix("cauce.") for o in outputs if o.topic is Topic.CHAT_RESPONSES
    ]
    return kinds if streamed else [kind for kind in kinds if kind != "graph.streamed"]
