"""A thread's rows in a dictionary, and legs of real graphs over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from langgraph.pregel import Pregel

from connectors.graphs import Graphs, StagingSaver, UserStore
from schemas import StateRow
from state import Page


class DictRows:
    """A `RowReader`, which counts what it is asked for."""

    def __init__(self) -> None:
        self.rows: dict[int, StateRow] = {}
        self.checkpoint_reads = 0
        self.ranges: list[Sequence[tuple[int, int]]] = []

    async def checkpoints(self, *, before: int | None = None, limit: int = 50) -> Page[StateRow]:
        self.checkpoint_reads += 1
        below = [r for r in self.rows.values() if r.kind == "checkpoint" and (before is None or r.seq < before)]
        found = sorted(below, key=lambda r: -r.seq)
        return Page(found[:limit], found[limit - 1].seq if len(found) > limit else None)

    async def values(self, ranges: Sequence[tuple[int, int]]) -> list[StateRow]:
        self.ranges.append(ranges)
        inside = [r for r in self.rows.values() if any(start <= r.seq <= end for start, end in ranges)]
        return sorted((r for r in inside if r.kind == "value"), key=lambda r: r.seq)

    @property
    def next_row(self) -> int:
        return max(self.rows, default=0) + 1

    def commit(self, saver: StagingSaver) -> tuple[StateRow, ...]:
        """What the turn's batch does."""
        staged = saver.staged()
        assert [row.seq for row in staged] == list(range(self.next_row, self.next_row + len(staged)))
        self.rows |= {row.seq: row for row in staged}
        saver.committed()
        assert saver.staged() == ()
        assert saver.next_row == self.next_row
        return staged


class Thread:
    """One thread of a graph; each leg has a saver of its own, as each worker does."""

    def __init__(self, graphs: Graphs, store: UserStore, name: str) -> None:
        self.rows = DictRows()
        self.config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        self.written: list[StateRow] = []
        self._graphs, self._store, self._name = graphs, store, name

    @asynccontextmanager
    async def leg(self, config: Any = None) -> AsyncIterator[Pregel[Any, Any, Any, Any]]:
        """The graph on a new saver, whose rows are committed when the leg ends well."""
        saver = StagingSaver(self.rows, next_row=self.rows.next_row)
        hosted = await self._graphs.get(self._name)
        async with hosted.bound(saver=saver, store=self._store, config=config or self.config) as graph:
            yield graph
        self.written = list(self.rows.commit(saver))

    async def run(self, value: Any, config: Any = None, **options: Any) -> Any:
        async with self.leg(config) as graph:
            return await graph.ainvoke(value, config or self.config, **options)

    async def state(self, config: Any = None, **options: Any) -> Any:
        async with self.leg() as graph:
            return await graph.aget_state(config or self.config, **options)

    async def history(self, **options: Any) -> list[Any]:
        async with self.leg() as graph:
            return [state async for state in graph.aget_state_history(self.config, **options)]

    @property
    def bytes_written(self) -> int:
        return sum(len(row.body) for row in self.written)


class Threads:
    def __init__(self, store: UserStore) -> None:
        self._store = store

    def __call__(self, name: str) -> Thread:
        return Thread(Graphs({name: f"sample_graphs:{name}"}), self._store, name)
