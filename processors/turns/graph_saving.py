"""Savers that commit checkpoints while their graph works: with each superstep, or behind it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata

from connectors.graphs import RowReader, StagingSaver
from processors.turns.underway import ANNOUNCED_AFTER
from schemas import Durability, StateRow

CommitRows = Callable[[tuple[StateRow, ...], int], Awaitable[None]]
"""Commits these rows of a graph that keeps running; the number is that of the row after them."""


PIECE_BYTES = 4 << 20
"""What trails behind a graph is committed in pieces of so many bytes: a quick graph, or a slow store, must not make a batch
that is larger than a store takes (`state.cassandra.journal.MOST_BYTES`)."""


@dataclass
class _Shared:
    """What a saver and its copies have together: LangGraph copies a saver."""

    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    failures: list[Exception] = field(default_factory=list)
    closed: bool = False
    writing: asyncio.Task[None] | None = None
    ends: list[int] = field(default_factory=list)
    """The rows before each of these numbers, ascending, are of whole checkpoints."""


def saving(
    durability: Durability, rows: RowReader, commit: CommitRows, *, next_row: int, after: float
) -> CommittingSaver:
    """The saver of a leg; `after` is as with `TrailingSaver`."""
    if durability == "sync":
        return SteppingSaver(rows, commit, next_row=next_row)
    if durability == "async":
        return TrailingSaver(rows, commit, next_row=next_row, after=after)
    return CommittingSaver(rows, commit, next_row=next_row)


class CommittingSaver(StagingSaver):
    """May commit what is staged while its graph works; this one does not (durability `exit`).

    What a commit raised is kept: a node that runs a subgraph may swallow it, and the leg must not count then.
    """

    def __init__(self, rows: RowReader, commit: CommitRows, *, next_row: int) -> None:
        super().__init__(rows, next_row=next_row)
        self._commit, self._shared = commit, _Shared()

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See `BaseCheckpointSaver`; raises what a commit raises."""
        made = await super().aput(config, checkpoint, metadata, new_versions)
        if (
            metadata.get("source") != "fork"
        ):  # what its run begins with is still to be written to it, and is committed with that
            await self._made()
        return made

    async def _made(self) -> None:
        """A checkpoint is staged, and may be committed."""

    async def close(self) -> None:
        """Nothing is committed after this: a graph that was left behind may still run. Raises what a commit raised."""
        async with self._shared.one_at_a_time:
            if not self._shared.failures:
                await self._before_the_end()
            self.stop()
        self._check()

    async def _before_the_end(self) -> None:
        """What is staged comes with the turn's batch, but for what is committed here. The lock is the caller's."""

    def stop(self) -> None:
        """As `close`, without waiting for what is being committed."""
        self._shared.closed = True
        if self._shared.writing:
            self._shared.writing.cancel()

    def _check(self) -> None:
        if self._shared.failures:
            raise self._shared.failures[0]

    async def _commit_staged(self, before: int | None = None) -> bool:
        """Whether there was anything, among the rows before this number. The lock is the caller's."""
        rows = self.staged(before)
        if rows:
            try:
                await self._commit(rows, rows[-1].seq + 1)
            except Exception as error:
                self._shared.failures.append(error)
                raise
            self.committed()
        return bool(rows)


class SteppingSaver(CommittingSaver):
    """Commits each checkpoint when it is made (durability `sync`): LangGraph waits for it before the next superstep."""

    async def _made(self) -> None:
        async with self._shared.one_at_a_time:
            self._check()
            if self._shared.closed:
                raise RuntimeError("the run of this graph is over")
            await self._commit_staged()

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See `BaseCheckpointSaver`: of a graph that a node calls by `invoke`. It is committed with the next checkpoint that is
        waited for."""
        return self._now(lambda: StagingSaver.aput(self, config, checkpoint, metadata, new_versions))


class TrailingSaver(CommittingSaver):
    """Commits checkpoints behind the graph, which does not wait for it (durability `async`).

    Not each by itself: what was made within `after` seconds goes in one batch, and a leg that is over by then has made none.
    """

    def __init__(self, rows: RowReader, commit: CommitRows, *, next_row: int, after: float = ANNOUNCED_AFTER) -> None:
        super().__init__(rows, commit, next_row=next_row)
        self._after = after

    async def _made(self) -> None:
        self._check()
        self._shared.ends.append(self.next_row)
        if self._loop:
            self._loop.call_soon_threadsafe(self._write_later)  # a node may call a graph from a thread

    def _write_later(self) -> None:
        if self._shared.writing is None and not self._shared.closed:
            self._shared.writing = asyncio.create_task(self._write(), name="graph-trail")

    async def _write(self) -> None:
        try:
            while not self._shared.failures:
                await asyncio.sleep(self._after)
                async with self._shared.one_at_a_time:
                    if self._shared.closed or not await self._commit_pieces(self.next_row):
                        return
        except Exception:  # it is kept, and ends the leg
            return
        finally:
            self._shared.writing = None

    async def _before_the_end(self) -> None:
        if _size(self.staged()) > PIECE_BYTES and self._shared.ends:
            await self._commit_pieces(self._shared.ends[-1])

    async def _commit_pieces(self, before: int) -> bool:
        """Commits the rows before this number. Whether there were any."""
        any_yet = False
        while await self._commit_staged(self._end_of_piece(before)):
            any_yet = True
        return any_yet

    def _end_of_piece(self, before: int) -> int:
        rows, size, at, end = self.staged(before), 0, 0, 0
        ends = [*(one for one in self._shared.ends if rows and rows[0].seq < one < before), before]
        for one in ends:
            while at < len(rows) and rows[at].seq < one:
                size, at = size + len(rows[at].body), at + 1
            if end and size > PIECE_BYTES:
                break
            end = one
        del self._shared.ends[: bisect_left(self._shared.ends, end)]
        return end


def _size(rows: tuple[StateRow, ...]) -> int:
    return sum(len(row.body) for row in rows)
