"""The embedded broker as a child process."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from types import TracebackType

START_SECONDS = 30.0


class EmbeddedBroker:
    """Starts `python -m streams.embedded` and stops it again; an asynchronous context manager.

    A restart listens on the same port.
    """

    def __init__(self, data: Path, *, port: int = 0, options: tuple[str, ...] = ()) -> None:
        self._data, self._port, self._options = data, port, options
        self._process: asyncio.subprocess.Process | None = None
        self.bootstrap = ""

    async def __aenter__(self) -> EmbeddedBroker:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process, "start it first"
        return self._process.pid

    async def start(self) -> None:
        """Starts and waits until the broker listens. Raises `RuntimeError` when it ends instead."""
        self._data.mkdir(parents=True, exist_ok=True)
        port_file = self._data / "address"
        port_file.unlink(missing_ok=True)
        arguments = ["-m", "streams.embedded", "--data", str(self._data), "--port", str(self._port)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            "--port-file",
            str(port_file),
            *self._options,
            stdout=asyncio.subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if self._process.returncode is not None or time.monotonic() > deadline:
                await self.kill()
                raise RuntimeError("the embedded broker did not start")
            await asyncio.sleep(0.01)
        self.bootstrap = port_file.read_text()
        self._port = int(self.bootstrap.rpartition(":")[2])

    async def stop(self) -> None:
        """Ends the process, gently first."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 5)
            except TimeoutError:
                await self.kill()

    async def kill(self) -> None:
        """Ends the process at once, as a crash would."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
