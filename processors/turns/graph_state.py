"""The state of a graph's thread around a leg: committed step by step, taken back, looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    copy_checkpoint,
    empty_checkpoint,
)
from langgraph.checkpoint.base.id import uuid6
from langgraph.types import StateSnapshot, StateUpdate

from connectors.graphs import RowReader, StagingSaver, place, to_json
from processors.turns.draft import Draft
from schemas import GraphInterrupt, GraphRequest, StateRow, UpdateState, storable_text

CommitRows = Callable[[tuple[StateRow, ...], int], Awaitable[None]]
"""Commits these rows of a graph that goes on; the number is that of the row after them."""


class LostRace(Exception):
    """Another writer moved the thread on while its graph ran: the input is processed again from the start."""


class SteppingSaver(StagingSaver):
    """Commits each checkpoint when it is made (durability `sync`): LangGraph waits for it before the next superstep.

    What a commit raised is kept: a node that runs a subgraph may swallow it, and the leg must not count then. LangGraph copies
    a saver, and the copies share all that is here.
    """

    def __init__(self, rows: RowReader, commit: CommitRows, *, next_row: int) -> None:
        super().__init__(rows, next_row=next_row)
        self._commit, self._one_at_a_time, self._failures = commit, asyncio.Lock(), list[Exception]()
        self._closed = [False]

    async def close(self) -> None:
        """Nothing is committed after this: a graph that was left behind may still go on."""
        async with self._one_at_a_time:
            self._closed[0] = True  # in a list, since copies share it

    def check(self) -> None:
        """Raises what a commit raised."""
        if self._failures:
            raise self._failures[0]

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See `BaseCheckpointSaver`; raises what the commit raises."""
        made = await super().aput(config, checkpoint, metadata, new_versions)
        if metadata.get("source") == "fork":
            return made  # what the run begins with is still to be written to it, and is committed with that
        async with self._one_at_a_time:
            self.check()
            if self._closed[0]:
                raise RuntimeError("the run of this graph is over")
            if rows := self.staged():
                try:
                    await self._commit(rows, self.next_row)
                except Exception as error:
                    self._failures.append(error)
                    raise
                self.committed()
        return made


async def newest_id(saver: StagingSaver, thread_id: str) -> str:
    """The newest checkpoint's id, empty for none."""
    found = await saver.aget_tuple(place(thread_id))
    return str(found.checkpoint["id"]) if found else ""


async def restore(saver: StagingSaver, thread_id: str, checkpoint_id: str) -> None:
    """Makes the state of a checkpoint the newest again, by a copy; an empty state where the id is empty.

    Nothing where it is the newest, as when the run that is taken back has committed nothing.
    """
    newest = await saver.aget_tuple(place(thread_id))
    if newest is None or newest.checkpoint["id"] == checkpoint_id:
        return
    wanted = await saver.aget_tuple(place(thread_id, checkpoint_id)) if checkpoint_id else None
    copy = copy_checkpoint(wanted.checkpoint) if wanted else empty_checkpoint()
    step = newest.metadata.get("step", -2) + 1
    copy["id"] = str(uuid6(clock_seq=step))
    kept: Any = wanted.metadata if wanted else {}
    metadata: Any = {**kept, "source": "fork", "step": step, "parents": {}}
    # As in LangGraph's own copies: beside the original, so that what was written to that one does not count.
    parent = wanted.parent_config if wanted else None
    await saver.aput(parent or place(thread_id), copy, metadata, {})


def interrupts_of(snapshot: StateSnapshot, namespace: tuple[str, ...] = ()) -> tuple[GraphInterrupt, ...]:
    """What a graph waits for, each once, named by the deepest subgraph that asks."""
    found: dict[str, GraphInterrupt] = {}
    for task in snapshot.tasks:
        if isinstance(task.state, StateSnapshot):
            deeper = (*namespace, storable_text(f"{task.name}:{task.id}"))
            found |= {i.id: i for i in interrupts_of(task.state, deeper)}
        for interrupt in task.interrupts:
            found.setdefault(interrupt.id, _told(interrupt, namespace))
    for interrupt in snapshot.interrupts:
        found.setdefault(interrupt.id, _told(interrupt, namespace))
    return tuple(found.values())


def still_asked(draft: Draft, after: StateSnapshot | None) -> tuple[GraphInterrupt, ...]:
    """What the state waits for after a run that failed; where it cannot be read, what it waited for before."""
    if after is not None:
        return interrupts_of(after) if after.next else ()
    run, known = draft.head.run, draft.base.head
    assert run
    if known is None:
        return ()
    return known.run.interrupts if known.run and known.run.run_id == run.run_id else known.asks


def _told(interrupt: Any, namespace: tuple[str, ...]) -> GraphInterrupt:
    return GraphInterrupt(id=interrupt.id, value=to_json(interrupt.value), namespace=namespace)


async def stopped_before_its_turn(graph: Any, saver: StagingSaver, thread_id: str, request: GraphRequest) -> bool:
    """Whether a leg whose process died after a superstep was to stop there, before or after a node.

    LangGraph takes a stop for passed when it goes on from its checkpoint; here nobody has let it pass.
    """
    newest = await saver.aget_tuple(place(thread_id))
    state = await graph.aget_state(place(thread_id))
    if newest is None or not state.next:
        return False
    before = request.interrupt_before or tuple(graph.interrupt_before_nodes)
    after = request.interrupt_after or tuple(graph.interrupt_after_nodes)
    parent = await saver.aget_tuple(newest.parent_config) if newest.parent_config else None
    seen = parent.checkpoint["versions_seen"] if parent else {}
    ran = {
        node
        for node, versions in newest.checkpoint["versions_seen"].items()
        if not node.startswith("__") and versions != seen.get(node)
    }
    return _among(state.next, before) or _among(ran, after)


def _among(found: Iterable[str], wanted: Sequence[str] | str) -> bool:
    names = set(found)
    return bool(names) and ("*" in wanted or not names.isdisjoint(wanted))


async def changed_by_hand(graph: Any, config: RunnableConfig, update: UpdateState) -> RunnableConfig:
    """Writes what a person wants into the graph's state; where the new checkpoint is. Raises what the graph does."""
    if not update.supersteps:
        made = await graph.aupdate_state(config, update.values, as_node=update.as_node)
    else:
        steps = [[StateUpdate(one.values, one.as_node) for one in step] for step in update.supersteps]
        made = await graph.abulk_update_state(config, steps)
    return cast(RunnableConfig, made)
