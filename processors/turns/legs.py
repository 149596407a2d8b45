"""Model calls that are going on, and how a record that comes meanwhile stops one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from processors.turns.transitions import CancelReason
from schemas import BadRecord, CancelRun, RawRecord, Topic, UserMessage, decode

T = TypeVar("T")
log = logging.getLogger("cauce.turns")


class Interrupted(Exception):
    """The model call was stopped because of a record that waits in the lane."""

    def __init__(self, reason: CancelReason) -> None:
        super().__init__(reason)
        self.reason: CancelReason = reason


@dataclass
class _Leg:
    run_id: str
    user_id: str
    task: asyncio.Task[object]
    reason: CancelReason | None = None


class Legs:
    """The model calls of one worker, by thread. A lane runs one record at a time, so a thread has at most one."""

    def __init__(self) -> None:
        self._going: dict[bytes, _Leg] = {}

    async def run(self, key: str, run_id: str, user_id: str, work: Awaitable[T]) -> T:
        """Awaits `work`, a model call for this thread. Raises `Interrupted` when a record stops it."""
        task = asyncio.ensure_future(work)
        leg = self._going[key.encode()] = _Leg(run_id, user_id, task)
        try:
            return await task
        except asyncio.CancelledError:
            if leg.reason and not _is_cancelled():
                raise Interrupted(leg.reason) from None
            task.cancel()
            raise
        finally:
            del self._going[key.encode()]

    def arrived(self, raw: RawRecord) -> None:
        """Stops the thread's model call when this record cancels its run, or is a message that takes its place."""
        leg = self._going.get(raw.key or b"")
        if leg is None or raw.topic != Topic.CHAT_MESSAGES:
            return
        try:
            body = decode(raw).body
        except BadRecord:
            return  # it will be dead-lettered when its turn comes
        if getattr(body, "user_id", None) != leg.user_id:
            return
        if isinstance(body, CancelRun) and body.run_id in (None, leg.run_id):
            leg.reason = "cancelled"
        elif isinstance(body, UserMessage) and body.multitask_strategy == "interrupt":
            leg.reason = "interrupted"
        elif isinstance(body, UserMessage) and body.multitask_strategy == "rollback":
            leg.reason = "rolled_back"
        else:
            return
        leg.task.cancel()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
