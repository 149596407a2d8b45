"""States of threads whose runs are hosted graphs: read through the same saver that workers write with. Nothing is run here."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from connectors.gateway.auth import Principal
from connectors.gateway.core.changes import Changes
from connectors.gateway.problems import Problem, checked, not_found
from connectors.graphs import Graphs
from schemas import InputRefused, SettingsError, StateUpdated, ThreadHead, UpdateState
from state import ItemStore, Journal

if TYPE_CHECKING:
    from connectors.graphs import HostedGraph

log = logging.getLogger("cauce.gateway")

State = dict[str, Any]


class GraphStates:
    """The caller has checked that a thread is the principal's."""

    def __init__(self, journal: Journal, items: ItemStore, graphs: Graphs, changes: Changes) -> None:
        self._journal, self._items, self._graphs, self._changes = journal, items, graphs, changes

    @property
    def names(self) -> Sequence[str]:
        """The hosted graphs of this installation."""
        return self._graphs.names

    async def hosted(self, graph: str) -> HostedGraph:
        """A hosted graph. Raises `Problem` when it is not there, or cannot be imported."""
        if graph not in self._graphs.names:
            raise not_found("graph", graph)
        try:
            return await self._graphs.get(graph)
        except SettingsError as error:
            log.error("the graph %r cannot be loaded: %s", graph, error)
            words = f"The graph {graph!r} cannot be loaded here; the gateway's log says why."
            raise Problem(500, "graph_unavailable", words) from error

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
        """A thread's newest state, or the one of a checkpoint. Raises `Problem` when there is no such checkpoint."""
        async with self._bound(caller, thread_id, graph, checkpoint_id, namespace) as (bound, config):
            from connectors.graphs import thread_state

            try:
                snapshot = await bound.aget_state(config, subgraphs=subgraphs)
            except ValueError as error:  # a namespace of which the graph has no subgraph
                raise not_found("checkpoint", f"{namespace}:{checkpoint_id}") from error
        if checkpoint_id and snapshot.created_at is None:
            raise not_found("checkpoint", checkpoint_id)
        return thread_state(snapshot, thread_id=thread_id)

    async def values(self, caller: Principal, thread_id: str, graph: str) -> Any:
        """The newest values; what the graph's state has before its first run where there was none."""
        return (await self.read(caller, thread_id, graph))["values"]

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
    ) -> list[State]:
        """States, the newest first: those older than `before`, of checkpoints whose metadata has these pairs."""
        async with self._bound(caller, thread_id, graph, checkpoint_id, namespace) as (bound, config):
            from connectors.graphs import place, thread_state

            older = place(thread_id, before, namespace) if before else None
            found = bound.aget_state_history(config, filter=dict(metadata or {}) or None, before=older, limit=limit)
            return [thread_state(snapshot, thread_id=thread_id) async for snapshot in found]

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
    ) -> str:
        """Changes the state by hand, and returns the new checkpoint's id. Raises `Problem` when the graph refuses it."""
        caller.require("write")
        body = checked(
            UpdateState,
            user_id=caller.user_id,
            graph=graph,
            agent_id=agent_id,
            values=values,
            as_node=as_node,
            checkpoint_id=checkpoint_id,
        )
        answer = await self._changes.apply(caller, thread_id, head, body)
        if isinstance(answer, InputRefused):
            raise Problem(409 if head.run else 422, "refused", f"Not done: {answer.reason}.")
        assert isinstance(answer, StateUpdated)
        return answer.checkpoint_id

    @asynccontextmanager
    async def _bound(
        self, caller: Principal, thread_id: str, graph: str, checkpoint_id: str | None, namespace: str
    ) -> AsyncIterator[tuple[Any, Any]]:
        """The graph on the thread's state, and the config of the place in it. LangGraph is imported off the event loop."""
        hosted = await self.hosted(graph)
        from connectors.graphs import StagingSaver, UserStore, place, rows_of

        config = place(thread_id, checkpoint_id, namespace)
        saver = StagingSaver(rows_of(self._journal, caller.tenant_id, thread_id))
        store = UserStore(self._items, caller.tenant_id, caller.user_id)
        async with hosted.bound(saver=saver, store=store, config=config) as bound:
            yield bound, config
