"""A process of ours: started, waited for, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_SECONDS = 30.0


class ChildProcess(ABC):
    """`python -m MODULE ARGUMENTS...`; an asynchronous context manager. It can be started again once it has ended."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @abstractmethod
    async def start(self) -> None:
        """Starts it: calls `run`."""

    @property
    def pid(self) -> int:
        """Its process id; of the newest one, if it was started again."""
        assert self._process, "start it first"
        return self._process.pid

    async def run(self, *arguments: str, **options: Any) -> None:
        """Starts the process, with a module and its arguments; `options` are those of `asyncio.create_subprocess_exec`."""
        self._process = await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments, **options)

    async def written(self, file: Path) -> str:
        """What it writes into the file once it is ready. Raises `RuntimeError`, and ends it, when it does not do so in time."""
        deadline = time.monotonic() + START_SECONDS
        while (text := _text_of(file)) is None:
            if self._process is None or self._process.returncode is not None or time.monotonic() > deadline:
                await self.kill()
                raise RuntimeError(f"the process that was to write {file} did not start")
            await asyncio.sleep(0.01)
        return text

    async def wait(self) -> int:
        """Until it ends; its exit code."""
        assert self._process, "start it first"
        return await self._process.wait()

    async def stop(self, seconds: float = 5) -> None:
        """Ends it, gently first."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), seconds)
            except TimeoutError:
                await self.kill()

    async def kill(self) -> None:
        """Ends it immediately, as a crash would."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


def _text_of(file: Path) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        return file.read_text()
    return None
