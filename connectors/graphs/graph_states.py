"""States of threads of hosted graphs, read through the saver with which workers write them. No graph is run here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from connectors.foreign import error_text
from connectors.graphs import Graphs
from core.changes import Changes
from core.costs import spend
from core.graph_assistants import Assistant
from core.permissions import Operation, require
from core.principal import Principal
from core.refusals import Broken, Refused, checked, not_found
from schemas import (
    GraphRequest,
    ServerTrouble,
    SettingsError,
    StateUpdated,
    ThreadHead,
    TooLarge,
    UpdateState,
)
from state import ItemStore, Journal

if TYPE_CHECKING:
    from connectors.graphs import HostedGraph, Use

log = logging.getLogger("cauce.gateway")

State = dict[str, Any]
AssistantOf = Callable[[Principal, object], Awaitable[Assistant | None]]

StateOf = Callable[[str, tuple[str, ...]], Awaitable[Any]]
"""The values of a checkpoint of a namespace; None if they cannot be read."""

STATE_BYTES = 8 << 20
"""Bytes of rows that are read for the states of one answer. A larger state is not shown (`TooLarge`)."""
MAKE_SECONDS = 30.0
"""How long a factory may take to create a graph whose state is read, or which is drawn."""
HELD_SECONDS = 5.0
"""How long a graph from a factory is kept for the next state of a stream."""


class GraphStates:
    """Reads and updates states. Callers must have checked that a thread belongs to the principal."""

    def __init__(
        self, journal: Journal, items: ItemStore, graphs: Graphs, changes: Changes, assistant: AssistantOf
    ) -> None:
        """`assistant` finds an assistant by its id or its graph's name."""
        self._journal, self._items, self._graphs, self._changes = journal, items, graphs, changes
        self._assistant = assistant

    @property
    def names(self) -> Sequence[str]:
        """The hosted graphs of this installation."""
        return self._graphs.names

    async def hosted(self, graph: str) -> HostedGraph:
        """A hosted graph. Raises `Refused` if it is not hosted or cannot be imported."""
        if graph not in self._graphs.names:
            raise not_found("graph", graph)
        try:
            return await self._graphs.get(graph)
        except SettingsError as error:
            log.error("the graph %r cannot be loaded: %s", graph, error)
            detail = f"The graph {graph!r} cannot be loaded here; the gateway's log has the reason."
            raise Broken("graph_unavailable", detail) from error

    async def read(
        self,
        caller: Principal,
        thread_id: str,
        graph: str,
        *,
        checkpoint_id: str | None = None,
        namespace: str = "",
        subgraphs: bool = False,
    ) -> State:
        """A thread's newest state, or that of a checkpoint. Raises `Refused` if there is no such checkpoint."""
        async with self._bound(caller, thread_id, graph) as bound:
            return await self._read(bound, thread_id, checkpoint_id, namespace, subgraphs=subgraphs)

    async def _read(
        self, bound: Any, thread_id: str, checkpoint_id: str | None, namespace: str, *, subgraphs: bool = False
    ) -> State:
        from connectors.graphs import place, thread_state

        try:
            snapshot = await bound.aget_state(place(thread_id, checkpoint_id, namespace), subgraphs=subgraphs)
        except ValueError as error:  # the graph has no subgraph with this namespace
            raise not_found("checkpoint", f"{namespace}:{checkpoint_id}") from error
        if checkpoint_id and snapshot.created_at is None:
            raise not_found("checkpoint", checkpoint_id)
        return thread_state(snapshot, thread_id=thread_id)

    async def values(self, caller: Principal, thread_id: str, graph: str) -> Any:
        """The newest values; before the first run, the initial values of the graph's state. None if they cannot be read, since
        threads are shown without them."""
        try:
            return (await self.read(caller, thread_id, graph))["values"]
        except ServerTrouble:
            raise
        except Exception as error:
            log.warning("the values of thread %s cannot be read: %s", thread_id, error)
            return None

    def states_of(self, caller: Principal, thread_id: str, graph: str) -> StateOf:
        """Reads values of several checkpoints with a graph that is created once; None for values that cannot be read."""
        return _Reader(self, caller, thread_id, graph).values

    async def history(
        self,
        caller: Principal,
        thread_id: str,
        graph: str,
        *,
        limit: int,
        before: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        namespace: str = "",
        checkpoint_id: str | None = None,
    ) -> AsyncGenerator[State]:
        """States, newest first: those older than `before`, of checkpoints whose metadata contains these pairs. It ends before all
        that was read for them has `STATE_BYTES`, unless the first alone has more (`TooLarge`)."""
        async with self._bound(caller, thread_id, graph) as bound:
            from connectors.graphs import place, thread_state

            config, given = place(thread_id, checkpoint_id, namespace), 0
            older = place(thread_id, before, namespace) if before else None
            found = bound.aget_state_history(config, filter=dict(metadata or {}) or None, before=older, limit=limit)
            try:
                async for snapshot in found:
                    yield thread_state(snapshot, thread_id=thread_id)
                    given += 1
            except TooLarge:
                if not given:
                    raise

    async def update(
        self,
        caller: Principal,
        thread_id: str,
        head: ThreadHead,
        graph: str,
        agent_id: str,
        *,
        values: Any,
        as_node: str | None,
        checkpoint_id: str | None,
        supersteps: Sequence[Sequence[Mapping[str, Any]]] = (),
    ) -> str:
        """Updates the state, in one step or in supersteps, and returns the new checkpoint's id.

        Raises `Refused` if the graph rejects the update.
        """
        require(caller, Operation.CHANGE_STATE, "graph")
        if graph in self._graphs.names and await self._assistant(caller, graph) is None:
            raise not_found("graph", graph)
        await spend("state")
        request = await self._configured(caller, head, graph)
        body = checked(
            UpdateState,
            user_id=caller.user_id,
            graph=graph,
            agent_id=agent_id,
            config=request.config,
            context=request.context,
            permissions=sorted(caller.scopes),
            values=values,
            as_node=as_node,
            checkpoint_id=checkpoint_id,
            supersteps=supersteps,
        )
        answer = await self._changes.done(caller, thread_id, head, body)
        assert isinstance(answer, StateUpdated)
        return answer.checkpoint_id

    async def schemas(self, caller: Principal, assistant: Assistant) -> dict[str, Any]:
        """The JSON schemas of an assistant's graph."""
        async with self._described(caller, assistant) as (hosted, use):
            return {"graph_id": assistant.graph_id, **await hosted.schemas(use)}

    async def drawing(self, caller: Principal, assistant: Assistant, *, xray: int | bool) -> dict[str, Any]:
        """The graph's nodes and edges."""
        async with self._described(caller, assistant) as (hosted, use):
            return await hosted.drawing(use, xray=xray)

    async def subgraphs(
        self, caller: Principal, assistant: Assistant, namespace: str | None, *, recurse: bool
    ) -> dict[str, Any]:
        """The schemas of its subgraphs."""
        async with self._described(caller, assistant) as (hosted, use):
            return await hosted.subgraphs(use, namespace, recurse=recurse)

    @asynccontextmanager
    async def _described(self, caller: Principal, assistant: Assistant) -> AsyncIterator[tuple[HostedGraph, Use]]:
        hosted = await self.hosted(assistant.graph_id)
        from connectors.graphs import DESCRIBE, Use, UserStore, run_config

        request = _request(caller, assistant)
        config = run_config(request, thread_id="", assistant_id=assistant.assistant_id, **_whose(caller))
        with _explained(assistant.graph_id):
            async with asyncio.timeout(MAKE_SECONDS):
                yield hosted, Use(DESCRIBE, config, UserStore(self._items, caller.tenant_id, caller.user_id))

    async def _configured(self, caller: Principal, head: ThreadHead | None, graph: str) -> GraphRequest:
        """The configuration of the thread's graph: that of its newest run, otherwise that of its assistant."""
        if head and head.configured and head.configured.graph == graph:
            return head.configured.model_copy(update={"permissions": tuple(sorted(caller.scopes))})
        names = (head.agent_id, head.metadata.get("assistant_id")) if head else ()
        for name in (*names, graph):
            if name and (found := await self._assistant(caller, name)) and found.graph_id == graph:
                return _request(caller, found)
        return GraphRequest(graph=graph)

    @asynccontextmanager
    async def _bound(self, caller: Principal, thread_id: str, graph: str) -> AsyncIterator[Any]:
        """The graph on the thread's state. LangGraph is imported off the event loop."""
        async with self._made(caller, thread_id, graph) as (hosted, made):
            yield self._attached(caller, thread_id, hosted, made)

    def _attached(self, caller: Principal, thread_id: str, hosted: HostedGraph, made: Any) -> Any:
        from connectors.graphs import StagingSaver, UserStore, rows_of

        saver = StagingSaver(rows_of(self._journal, caller.tenant_id, thread_id, max_bytes=STATE_BYTES))
        return hosted.attached(made, saver=saver, store=UserStore(self._items, caller.tenant_id, caller.user_id))

    @asynccontextmanager
    async def _made(self, caller: Principal, thread_id: str, graph: str) -> AsyncIterator[tuple[HostedGraph, Any]]:
        hosted = await self.hosted(graph)
        from connectors.graphs import READ, Use, UserStore, run_config

        head = (await self._journal.hydrate(caller.tenant_id, thread_id, window=0)).head if hosted.is_made else None
        request = await self._configured(caller, head, graph)
        agent_id = head.agent_id if head else ""
        config = run_config(request, thread_id=thread_id, assistant_id=agent_id, **_whose(caller))
        async with _left_whatever_it_raises(graph) as stack:
            with _explained(graph):
                use = Use(READ, config, UserStore(self._items, caller.tenant_id, caller.user_id))
                async with asyncio.timeout(MAKE_SECONDS):
                    made = await stack.enter_async_context(hosted.made(use))
            yield hosted, made


class _Reader:
    """States of one thread for one stream. The graph of a factory is closed, in the task that entered it, after `HELD_SECONDS`
    without a request."""

    def __init__(self, states: GraphStates, caller: Principal, thread_id: str, graph: str) -> None:
        self._states, self._caller, self._thread_id, self._graph = states, caller, thread_id, graph
        self._held: asyncio.Future[tuple[HostedGraph, Any]] | None = None
        self._asked = asyncio.Event()
        self._holding: asyncio.Task[None] | None = None

    async def values(self, checkpoint_id: str, namespace: tuple[str, ...]) -> Any:
        try:
            hosted, made = await self._graph_of_stream()
            bound = self._states._attached(self._caller, self._thread_id, hosted, made)
            found = await self._states._read(bound, self._thread_id, checkpoint_id, "|".join(namespace))
        except Exception as error:
            log.warning("the state %s of a stream cannot be read: %s", checkpoint_id, error)
            return None
        return found["values"]

    async def _graph_of_stream(self) -> tuple[HostedGraph, Any]:
        self._asked.set()
        if self._held is None:
            self._held = asyncio.get_running_loop().create_future()
            self._holding = asyncio.create_task(self._hold(self._held))
        return await asyncio.shield(self._held)

    async def _hold(self, held: asyncio.Future[tuple[HostedGraph, Any]]) -> None:
        try:
            async with self._states._made(self._caller, self._thread_id, self._graph) as made:
                held.set_result(made)
                with suppress(TimeoutError):
                    while True:
                        self._asked.clear()
                        await asyncio.wait_for(self._asked.wait(), HELD_SECONDS)
                self._held = None
        except Exception as error:
            if not held.done():
                held.set_exception(error)
        finally:
            held.cancel()


@asynccontextmanager
async def _left_whatever_it_raises(graph: str) -> AsyncIterator[AsyncExitStack]:
    """Keeps the result of a read: it stands even if the graph's cleanup fails afterwards, and an error of the reader is raised
    even if the graph's context manager suppresses it."""
    stack, failed = AsyncExitStack(), None
    try:
        yield stack
    except BaseException as error:
        failed = error
    try:
        await stack.__aexit__(type(failed) if failed else None, failed, failed.__traceback__ if failed else None)
    except BaseException as error:
        if error is not failed and _is_ours(error):
            raise
        if error is not failed:
            log.warning("the graph %r cannot be cleaned up", graph, exc_info=error)
    if failed:
        raise failed


@contextmanager
def _explained(graph: str) -> Iterator[None]:
    """Raises `Refused` with an explanation if a factory fails; `Unavailable` is passed on."""
    try:
        yield
    except (Refused, ServerTrouble):
        raise
    except BaseException as error:
        if _is_ours(error):
            raise
        log.warning("the graph %r cannot be created", graph, exc_info=error)
        reason = error_text(error)
        raise Broken(
            "graph_unavailable", f"The graph {graph!r} cannot be created with this configuration: {reason}"
        ) from error


def _is_ours(error: BaseException) -> bool:
    """Whether the exception stops our own work, rather than being raised by a graph's function."""
    task = asyncio.current_task()
    return isinstance(error, GeneratorExit) or (
        isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)
    )


def _whose(caller: Principal) -> dict[str, Any]:
    return {"tenant_id": caller.tenant_id, "user_id": caller.user_id}


def _request(caller: Principal, assistant: Assistant) -> GraphRequest:
    config, context = assistant.configuration()
    return GraphRequest(
        graph=assistant.graph_id, config=config, context=context, permissions=tuple(sorted(caller.scopes))
    )
