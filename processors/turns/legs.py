"""Legs that are going on, model calls and graphs, and how a record that comes meanwhile stops one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from processors.turns.transitions import CancelReason
from schemas import BadRecord, CancelRun, GraphInput, RawRecord, Topic, UserMessage, decode

T = TypeVar("T")
Waiting = Callable[[], Sequence[RawRecord]]
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

    async def run(
        self, key: str, run_id: str, user_id: str, work: Coroutine[Any, Any, T], waiting: Waiting = lambda: ()
    ) -> T:
        """Awaits `work`, a model call for this thread. Raises `Interrupted` when a record stops it: one that comes
        meanwhile, or one that waits already, since it came between the turn's start and now."""
        for raw in waiting():
            if reason := _reason_to_stop(raw, run_id, user_id):
                work.close()
                raise Interrupted(reason)
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
        if leg and (reason := _reason_to_stop(raw, leg.run_id, leg.user_id)):
            leg.reason = reason
            leg.task.cancel()


def _reason_to_stop(raw: RawRecord, run_id: str, user_id: str) -> CancelReason | None:
    """Why this record ends a run of this user, if it does."""
    if raw.topic != Topic.CHAT_MESSAGES:
        return None
    try:
        body = decode(raw).body
    except BadRecord:
        return None  # it will be dead-lettered when its turn comes
    if getattr(body, "user_id", None) != user_id:
        return None
    if isinstance(body, CancelRun) and body.run_id in (None, run_id):
        return "cancelled"
    if isinstance(body, GraphInput) and body.request.command and body.request.command.resumes:
        return None  # it answers a run that waits, and starts none
    if isinstance(body, UserMessage | GraphInput) and body.multitask_strategy == "interrupt":
        return "interrupted"
    if isinstance(body, UserMessage | GraphInput) and body.multitask_strategy == "rollback":
        return "rolled_back"
    return None


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
