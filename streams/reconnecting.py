"""A client of Kafka that begins again after any trouble, in a task of its own."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

from schemas.common.serving import ServingTask, again_and_again

log = logging.getLogger("cauce.streams")


class Reconnecting(ABC):
    """`start` returns immediately; `stop` ends the task. What it does is `_work`."""

    def __init__(self, what: str) -> None:
        """`what` it does, for the log."""
        self._what = what
        self._task = ServingTask(what, self._again_and_again, may_return=True)

    async def start(self) -> None:
        """Begins to connect, again and again until Kafka answers."""
        self._task.start()

    async def stop(self) -> None:
        """Ends it."""
        await self._task.stop()

    @abstractmethod
    async def _work(self) -> None:
        """Connects, works, and disconnects. Returns when nothing is left to do; after an exception it is called again."""

    async def _again_and_again(self) -> None:
        await again_and_again(self._work, failed=self._failed)

    def _failed(self, error: BaseException) -> None:
        log.warning("%s failed (%r), beginning again", self._what, error)
