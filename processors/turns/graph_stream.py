"""A graph's stream: what LangGraph yields goes into parts, and out early in pieces."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from connectors.foreign import no_exits
from connectors.graphs import run_context
from processors.turns.graph_parts import Namespace, Parts
from processors.turns.leg import DELTA_SECONDS
from schemas import Envelope, GraphDelta, GraphPiece, GraphRequest, Output, ThreadKey, Topic, storable_text
from schemas.common.clock import Clock
from schemas.ids import new_uuid
from threads.draft import SOURCE

MODES = ("values", "updates", "messages", "custom", "tasks", "checkpoints", "debug", "tools")
"""LangGraph's stream modes."""
GATHERED = 500_000
"""Bytes of pieces that go out in one record; one that has more goes alone."""
_ALSO_CALLED = {"messages-tuple": "messages"}
"""Names of clients."""


class EarlyPieces:
    """Publishes pieces of a leg while it goes, gathered for `DELTA_SECONDS`."""

    def __init__(
        self,
        parts: Parts,
        thread: ThreadKey,
        of: tuple[str, str, str],
        emit: Callable[[Output], None],
        now: Clock,
        traceparent: str | None,
    ) -> None:
        """`of` are the run, the leg and the graph."""
        self._parts, self._thread = parts, thread
        self._run_id, self._leg, self._graph = of
        self._emit, self._now, self._traceparent = emit, now, traceparent
        self._sent, self._count = float("-inf"), 0
        self._later: asyncio.TimerHandle | None = None
        self._over = False

    def touch(self) -> None:
        """Something was added: it goes out, now or soon."""
        if self._over:
            return  # by a graph that was left behind
        loop = asyncio.get_running_loop()
        due = self._sent + DELTA_SECONDS
        if loop.time() >= due:
            self._send()
        elif self._later is None:
            self._later = loop.call_at(due, self._send)

    def stop(self) -> None:
        """Sends what is left; nothing goes out any more."""
        self._send()
        self._over = True

    def _send(self) -> None:
        if self._later:
            self._later.cancel()
            self._later = None
        self._sent = asyncio.get_running_loop().time()
        together, size = list[GraphPiece](), 0
        for piece, more in self._parts.take():
            if together and size + more > GATHERED:
                self._publish(together)
                together, size = [], 0
            together.append(piece)
            size += more
        if together:
            self._publish(together)

    def _publish(self, pieces: list[GraphPiece]) -> None:
        delta = GraphDelta(run_id=self._run_id, leg=self._leg, graph=self._graph, pieces=tuple(pieces))
        record_id, tenant_id = f"{self._leg}.{self._count}", self._thread.tenant_id
        self._count += 1
        envelope = Envelope(record_id, GraphDelta.TYPE, SOURCE, tenant_id, self._now(), self._traceparent)
        self._emit(Output.of(Topic.CHAT_DELTAS, str(self._thread), delta, envelope))


async def stream(
    graph: Any, given: Any, config: RunnableConfig, request: GraphRequest, parts: Parts, touch: Callable[[], None]
) -> None:
    """Runs the graph to the end of its leg. Raises what it raises.

    Args:
        graph: A compiled graph with its saver and store.
        given: Its input, a `Command`, or None to resume.
        config: Where it resumes, and what else its nodes receive.
        request: What is asked for of it.
        parts: Gets what it streams.
        touch: Is called after that.
    """
    asked = {_ALSO_CALLED.get(mode, mode) for mode in request.modes}
    # A state does not say which checkpoint it is of: the checkpoint that comes after it does.
    wanted = asked | {"checkpoints"} if "values" in asked else asked
    options: dict[str, Any] = {
        "stream_mode": [mode for mode in MODES if mode in wanted],
        "subgraphs": request.subgraphs,
        "durability": request.durability,
        "interrupt_before": nodes(request.interrupt_before),
        "interrupt_after": nodes(request.interrupt_after),
        "context": run_context(graph, request),
    }
    if "events" in asked:
        chunks = _with_events(graph, given, config, options)
    else:
        chunks = _chunks(graph.astream(given, config, **options), subgraphs=request.subgraphs)
    with no_exits():
        await _gather(chunks, asked, parts, touch)


async def _gather(
    chunks: AsyncGenerator[_Chunk, None], asked: set[str], parts: Parts, touch: Callable[[], None]
) -> None:
    async with aclosing(chunks):
        async for mode, namespace, data in chunks:
            if mode == "checkpoints":
                parts.checkpoint(namespace, data["config"]["configurable"]["checkpoint_id"])
            if mode == "tools":
                _with_id(data)
            if mode in asked:
                parts.add(mode, namespace, data)
                touch()


def _with_id(data: Any) -> None:
    """A tool's message is sent before the state gives it an id; it keeps this one."""
    output = data.get("output") if isinstance(data, dict) else None
    if isinstance(output, BaseMessage) and output.id is None:
        output.id = new_uuid()


def nodes(names: tuple[str, ...]) -> Any:
    """Names of nodes as LangGraph takes them; None leaves it to the graph."""
    return "*" if "*" in names else list(names) or None


_Chunk = tuple[str, Namespace, Any]


async def _chunks(source: AsyncGenerator[Any, None], *, subgraphs: bool) -> AsyncGenerator[_Chunk, None]:
    async with aclosing(source):
        async for chunk in source:
            yield _chunk(chunk, subgraphs=subgraphs)


def _chunk(chunk: Any, *, subgraphs: bool) -> _Chunk:
    namespace, mode, data = chunk if subgraphs else ((), *chunk)
    return mode, tuple(storable_text(part) for part in namespace), data


async def _with_events(
    graph: Any, given: Any, config: RunnableConfig, options: dict[str, Any]
) -> AsyncGenerator[_Chunk, None]:
    """LangChain's events of everything that runs; the graph's own chunks are the events of its root."""
    root = uuid.UUID(new_uuid())
    events = graph.astream_events(given, {**config, "run_id": root}, version="v2", **options)
    async with aclosing(events):
        async for event in events:
            if "langsmith:hidden" in (event.get("tags") or ()):
                continue
            if event["event"] == "on_chain_stream" and event["run_id"] == str(root):
                yield _chunk(event["data"]["chunk"], subgraphs=options["subgraphs"])
            else:
                yield "events", (), event
