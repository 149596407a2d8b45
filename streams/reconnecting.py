"""A client of Kafka that begins again after any trouble, in a task of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod

log = logging.getLogger("cauce.streams")

PAUSE = 1.0
"""Seconds before it begins again."""


class Reconnecting(ABC):
    """`start` returns immediately; `stop` ends the task. What it does is `_work`."""

    def __init__(self, what: str) -> None:
        """`what` it does, for the log."""
        self._what = what
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to connect, again and again until Kafka answers."""
        self._task = asyncio.create_task(self._again_and_again(), name=self._what)

    async def stop(self) -> None:
        """Ends it."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @abstractmethod
    async def _work(self) -> None:
        """Connects, works, and disconnects. Returns when nothing is left to do; after an exception it is called again."""

    async def _again_and_again(self) -> None:
        while True:
            try:
                await self._work()
                return
            except Exception as error:  # whatever it is, the next record is another one
                self._failed(error)
                await asyncio.sleep(PAUSE)

    def _failed(self, error: Exception) -> None:
        log.warning("%s failed (%r), beginning again", self._what, error)
