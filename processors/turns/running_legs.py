"""Legs at work, model calls and graphs, and how a record that comes meanwhile stops one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from connectors.foreign import Contained
from schemas import BadRecord, CancelRun, ChangeThread, GraphInput, RawRecord, Topic, UserMessage, decode
from threads.cancel_reasons import CancelReason

T = TypeVar("T")
Waiting = Callable[[], Sequence[RawRecord]]
log = logging.getLogger("cauce.turns")

STOP_SECONDS = 5.0
"""Time that a model call or a graph has to end when it is cancelled; one that does not end is left behind."""


class Interrupted(Exception):
    """The leg was stopped because of a record that waits in the lane."""

    def __init__(self, reason: CancelReason) -> None:
        super().__init__(reason)
        self.reason: CancelReason = reason


@dataclass
class _Leg:
    run_id: str
    user_id: str
    work: Contained[Any]
    reason: CancelReason | None = None


class RunningLegs:
    """The legs of one worker, by thread. A lane runs one record at a time, so a thread has at most one."""

    def __init__(self) -> None:
        self._running: dict[bytes, _Leg] = {}

    async def run(
        self, key: str, run_id: str, user_id: str, work: Coroutine[Any, Any, T], waiting: Waiting = lambda: ()
    ) -> T:
        """Awaits `work`, a leg of this thread. Raises `Interrupted` when a record stops it: one that comes
        meanwhile, or one that waits already, since it came between the turn's start and now; `ForeignStop` where the work
        ends with what is no `Exception`; else what the work raises."""
        for raw in waiting():
            if reason := _reason_to_stop(raw, run_id, user_id):
                work.close()
                raise Interrupted(reason)
        contained = Contained(work)
        leg = self._running[key.encode()] = _Leg(run_id, user_id, contained)
        try:
            return await contained.result()
        except Exception as error:
            if leg.reason:
                raise Interrupted(leg.reason) from error
            raise
        finally:
            del self._running[key.encode()]

    def arrived(self, raw: RawRecord) -> bool:
        """Stops the thread's leg when this record cancels its run or preempts it. False where no leg works."""
        leg = self._running.get(raw.key or b"")
        if leg and (reason := _reason_to_stop(raw, leg.run_id, leg.user_id)):
            leg.reason = reason
            leg.work.stop(Interrupted(reason), after=STOP_SECONDS)
        return leg is not None


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
        return "rolled_back" if body.rollback else "cancelled"
    if isinstance(body, ChangeThread) and body.action == "delete":
        return None if body.expired else "cancelled"
    if isinstance(body, GraphInput) and body.request.command and body.request.command.resumes:
        return None  # it answers a paused run, and starts none
    if isinstance(body, UserMessage | GraphInput) and body.multitask_strategy == "interrupt":
        return "interrupted"
    if isinstance(body, UserMessage | GraphInput) and body.multitask_strategy == "rollback":
        return "rolled_back"
    return None
