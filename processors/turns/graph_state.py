"""The state of a graph's thread around a leg: restored, inspected."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import copy_checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.types import StateSnapshot, StateUpdate

from connectors.graphs import StagingSaver, place, to_json
from schemas import GraphInterrupt, GraphRequest, SettingsError, UpdateState, storable_text
from threads.draft import Draft

log = logging.getLogger("cauce.turns")


def missing_graph(name: str, error: SettingsError) -> str:
    """Why a run cannot have its graph, for its user. The reason is logged instead: it names files, and other graphs."""
    log.error("the graph %r cannot be used: %s", name, error)
    return f"The graph {name!r} is not hosted here, or cannot be loaded; the workers' log has the reason."


async def newest_id(saver: StagingSaver, thread_id: str) -> str:
    """The newest checkpoint's id, empty for none."""
    found = await saver.aget_tuple(place(thread_id))
    return str(found.checkpoint["id"]) if found else ""


async def restore(saver: StagingSaver, thread_id: str, checkpoint_id: str) -> None:
    """Makes the state of a checkpoint the newest again, by a copy; an empty state where the id is empty.

    Nothing where it is the newest, as when the run that is rolled back has committed nothing.
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
    """The open interrupts of a graph, each once, named by the deepest subgraph that asks."""
    found: dict[str, GraphInterrupt] = {}
    for task in snapshot.tasks:
        if isinstance(task.state, StateSnapshot):
            deeper = (*namespace, storable_text(f"{task.name}:{task.id}"))
            found |= {i.id: i for i in interrupts_of(task.state, deeper)}
        for interrupt in task.interrupts:
            found.setdefault(interrupt.id, _stored(interrupt, namespace))
    for interrupt in snapshot.interrupts:
        found.setdefault(interrupt.id, _stored(interrupt, namespace))
    return tuple(found.values())


def still_asked(draft: Draft, after: StateSnapshot | None) -> tuple[GraphInterrupt, ...]:
    """The open interrupts after a run that failed; where the state cannot be read, those before it."""
    if after is not None:
        return interrupts_of(after) if after.next else ()
    return asked_before(draft)


def asked_before(draft: Draft) -> tuple[GraphInterrupt, ...]:
    """The open interrupts before this turn: of the run itself, or of one before it that has failed."""
    known = draft.base.head
    if known is None or (known.run and known.run.run_id != draft.run.run_id):
        return ()
    return known.open_interrupts


def _stored(interrupt: Any, namespace: tuple[str, ...]) -> GraphInterrupt:
    return GraphInterrupt(id=interrupt.id, value=to_json(interrupt.value), namespace=namespace)


async def stopped_before_its_turn(graph: Any, saver: StagingSaver, thread_id: str, request: GraphRequest) -> bool:
    """Whether a leg whose process died after a superstep was to stop there, before or after a node.

    When LangGraph resumes from the checkpoint of a stop, it treats the stop as answered; here nobody has answered it.
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
