"""LangGraph's saver on a thread's rows: reads the journal and writes to memory, so that state is committed with the turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    EXCLUDED_METADATA_KEYS,
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
    writes_sort_key,
)

from connectors.graphs.json_shapes import to_json
from connectors.graphs.serde import StorableSerializer
from connectors.graphs.state_rows import BrokenState, CheckpointRow, Place, RowReader, WritesRow
from connectors.graphs.thread_rows import Floor, ThreadRows, WouldWait, may_wait
from connectors.graphs.values import place, values_at
from schemas import CauceError, StateRow, contains

log = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_WAIT = 60
"""Timeout for a thread that waits for the event loop, which may itself be waiting for the thread."""


class StagingSaver(BaseCheckpointSaver[int]):
    """The saver of one thread for one leg, or for reading its state once.

    It is bound to a thread: the thread's id in a config is returned but not used. Nothing is written until the caller commits the
    rows of `staged`; a discarded saver leaves nothing behind.

    An application's types are restored only if they are on the list from `HostedGraph.bound`. LangGraph copies a saver to set
    that list (`with_allowlist`); all mutable state is in `_rows`, which the copies share.
    """

    def __init__(self, rows: RowReader, *, next_row: int = 1) -> None:
        super().__init__(serde=StorableSerializer())
        self._rows = ThreadRows(rows, next_row)
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    @property
    def next_row(self) -> int:
        """The number of the next row, after the staged ones."""
        return self._rows.next_row

    def staged(self, before: int | None = None) -> tuple[StateRow, ...]:
        """The new rows since the last `committed`, in order; with `before`, only those with lower numbers.

        Writes whose checkpoint LangGraph has not passed yet are not included; they are staged together with it.
        """
        return self._rows.staged(before)

    def committed(self) -> None:
        """Marks the rows that `staged` returned last as committed to the journal."""
        self._rows.committed()

    # Reading

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, or the newest one of its namespace."""
        row = await self._rows.find(_namespace(config) or "", get_checkpoint_id(config), self._floor(config))
        return None if row is None else await self._tuple(row, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, newest first: of all namespaces, unless the config names one. `before` compares ids, which LangGraph
        derives from the time, so it may belong to another namespace.
        """
        namespace, wanted = (_namespace(config), get_checkpoint_id(config)) if config else (None, None)
        end = get_checkpoint_id(before) if before else None
        async for row in self._rows.newest_first(self._floor(config) if config else None):
            if limit is not None and limit <= 0:
                return
            if (
                namespace in (None, row.namespace)
                and wanted in (None, row.checkpoint_id)
                and (end is None or row.checkpoint_id < end)
                and contains(row.metadata, filter or {})
            ):
                try:
                    found = await self._tuple(row, config)
                except BrokenState as error:
                    log.warning("skipped in a history: %s", error)
                    continue
                limit = None if limit is None else limit - 1
                yield found
                if wanted is not None and namespace is not None:
                    return

    def _floor(self, config: RunnableConfig) -> Floor | None:
        """A lower bound for the rows of a subgraph that runs inside a task.

        Such a namespace contains the task's id, which derives from the checkpoint that created the task: everything in the
        namespace was written after that checkpoint's parent. Without this bound, entering a subgraph would read the whole thread
        only to find nothing.
        """
        outer = (config["configurable"].get("checkpoint_map") or {}).get("")
        if outer is None or ":" not in (_namespace(config) or "").split("|")[0]:
            return None
        if row := self._rows.known("", outer):
            return Floor("", row.parent_id) if row.parent_id else None
        # The parent graph has read its newest checkpoint, so this one has not been written yet.
        return Floor("", None) if self._rows.has_read("") else None

    async def _tuple(self, row: CheckpointRow, config: RunnableConfig | None) -> CheckpointTuple:
        writes = _in_order(self._rows.writes_of(*row.key))
        places = [*row.places.values(), *(where for _, _, where in writes)]
        try:
            values = await values_at(places, self._rows, self.serde)
        except (CauceError, WouldWait):
            raise
        except Exception as error:  # of the serializer; its message may quote the data
            message = f"the values of the checkpoint {row.checkpoint_id} cannot be read ({type(error).__name__})"
            raise BrokenState(message) from None
        channels = dict(zip(row.places, values, strict=False))
        written = values[len(channels) :]

        def named(checkpoint_id: str) -> RunnableConfig:
            given = (config or {}).get("configurable", {})
            thread = {"thread_id": given["thread_id"]} if "thread_id" in given else {}
            return {"configurable": {**thread, "checkpoint_ns": row.namespace, "checkpoint_id": checkpoint_id}}

        return CheckpointTuple(
            config=named(row.checkpoint_id),
            checkpoint=_checkpoint(row.skeleton, channels),
            metadata=_metadata(row.metadata),
            parent_config=named(row.parent_id) if row.parent_id else None,
            pending_writes=[
                (task_id, channel, value) for (task_id, channel, _), value in zip(writes, written, strict=True)
            ],
        )

    # Writing

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stages a checkpoint. Values that are unchanged since the parent are not written again. Raises `RowTooLarge`."""
        namespace, parent_id = _namespace(config) or "", get_checkpoint_id(config)
        parent = await self._rows.find(namespace, parent_id) if parent_id else None
        places: dict[str, Place] = {}
        for channel, version in checkpoint["channel_versions"].items():
            unchanged = parent is not None and parent.skeleton["channel_versions"].get(channel) == version
            if parent is not None and unchanged and channel not in new_versions:
                if channel in parent.places:
                    places[channel] = parent.places[channel]
            elif channel in checkpoint["channel_values"]:
                places[channel] = place(checkpoint["channel_values"][channel], channel, self._rows, self.serde)
        self._rows.add_checkpoint(
            CheckpointRow(
                namespace=namespace,
                checkpoint_id=checkpoint["id"],
                parent_id=parent_id,
                metadata=_metadata_of(config, metadata),
                skeleton={name: value for name, value in checkpoint.items() if name != "channel_values"},
                places=places,
            )
        )
        configurable = {"checkpoint_ns": namespace, "checkpoint_id": checkpoint["id"]}
        return {"configurable": {"thread_id": config["configurable"].get("thread_id"), **configurable}}

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Stages the writes of a task. Existing writes of a task are kept; errors, interrupts and answers are replaced."""
        namespace, checkpoint_id = _namespace(config) or "", config["configurable"]["checkpoint_id"]
        there = {
            index
            for row in self._rows.writes_of(namespace, checkpoint_id)
            if row.task_id == task_id
            for index, _, _ in row.writes
        }
        new = tuple(
            (index, channel, place(value, channel, self._rows, self.serde))
            for index, channel, value in ((WRITES_IDX_MAP.get(c, at), c, v) for at, (c, v) in enumerate(writes))
            if index < 0 or index not in there
        )
        if new:
            self._rows.add_writes(WritesRow(namespace, checkpoint_id, task_id, task_path, new))

    # Synchronous versions, which LangGraph calls when a node calls a graph with `invoke`, mostly from other threads

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `aget_tuple`."""
        return self._now(lambda: self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """As `alist`."""

        async def listed() -> Sequence[CheckpointTuple]:
            return [found async for found in self.alist(config, filter=filter, before=before, limit=limit)]

        yield from self._now(listed)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `aput`."""
        return self._now(lambda: self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `aput_writes`."""
        self._now(lambda: self.aput_writes(config, writes, task_id, task_path))

    def _now(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the work, without blocking if nothing has to be read. Raises `RuntimeError` on the event loop itself if
        something has to be read.
        """
        token = may_wait.set(False)
        try:
            work().send(None)
        except StopIteration as done:
            result: T = done.value
            return result
        except WouldWait:
            pass
        finally:
            may_wait.reset(token)
        return from_thread(work(), self._loop)


def from_thread(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop | None) -> T:
    """The result of the work on its loop, for a caller in another thread. Raises `RuntimeError` on the loop itself."""
    try:
        blocked = asyncio.get_running_loop() is loop
    except RuntimeError:
        blocked = False
    if loop is None or blocked or not loop.is_running():
        work.close()
        raise RuntimeError(
            "this has to be read from the store, which would block the event loop: use the async method here (ainvoke, "
            "aget_state, aget, ...), or make the node a plain function, which LangGraph runs in a thread"
        )
    return asyncio.run_coroutine_threadsafe(work, loop).result(_LONGEST_WAIT)


def _namespace(config: RunnableConfig) -> str | None:
    namespace: str | None = config["configurable"].get("checkpoint_ns")
    return namespace


def _checkpoint(skeleton: Mapping[str, Any], values: dict[str, Any]) -> Checkpoint:
    checkpoint: Any = {**skeleton, "channel_values": values}
    # LangGraph modifies the returned objects; the row must not change.
    checkpoint["channel_versions"] = dict(skeleton["channel_versions"])
    checkpoint["versions_seen"] = {node: dict(seen) for node, seen in skeleton["versions_seen"].items()}
    result: Checkpoint = checkpoint
    return result


def _metadata_of(config: RunnableConfig, metadata: CheckpointMetadata) -> dict[str, Any]:
    """The metadata as LangGraph's servers keep it: with that of the run, including values that are objects or lists."""
    found: dict[str, Any] = dict(get_serializable_checkpoint_metadata(config, metadata))
    for name, value in (config.get("metadata") or {}).items():
        known = name in found or name in EXCLUDED_METADATA_KEYS or name.startswith("__")
        if not known and isinstance(value, dict | list):
            found[name] = to_json(value)
    return found


def _metadata(stored: Mapping[str, Any]) -> CheckpointMetadata:
    metadata: Any = dict(stored)
    result: CheckpointMetadata = metadata
    return result


def _in_order(rows: Sequence[WritesRow]) -> Sequence[tuple[str, str, Place]]:
    """Writes as task, channel and location of the value, in LangGraph's order. Of several writes of a task with the same index
    the first counts; of special ones (errors, interrupts, answers) the last.
    """
    found: dict[tuple[str, int], tuple[str, str, Place]] = {}
    for row in rows:
        for index, channel, where in row.writes:
            if index < 0 or (row.task_id, index) not in found:
                found[row.task_id, index] = (row.task_path, channel, where)
    ordered = sorted(found.items(), key=lambda item: writes_sort_key(item[1][0], *item[0]))
    return [(task_id, channel, where) for (task_id, _), (_, channel, where) in ordered]
