"""The emulators as a child process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from types import TracebackType

START_SECONDS = 30.0


class EmulatorProcess:
    """Starts `python -m connectors.emulators` and stops it again; an asynchronous context manager."""

    def __init__(self, data: Path, *, port: int = 0, auto_connect: bool = True, port_file: Path | None = None) -> None:
        self._data, self._port, self._auto_connect = data, port, auto_connect
        self._port_file = port_file or data / "port.json"
        self._process: asyncio.subprocess.Process | None = None
        self.base_url = ""
        self.api_key = ""

    async def __aenter__(self) -> EmulatorProcess:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts and waits until the server listens. Raises `RuntimeError` when it ends instead."""
        self._data.mkdir(parents=True, exist_ok=True)
        port_file = self._port_file
        port_file.parent.mkdir(parents=True, exist_ok=True)
        port_file.unlink(missing_ok=True)
        arguments = ["-m", "connectors.emulators", "--data", str(self._data), "--port", str(self._port)]
        arguments += ["--port-file", str(port_file), *([] if self._auto_connect else ["--no-auto-connect"])]
        self._process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
        deadline = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if self._process.returncode is not None or time.monotonic() > deadline:
                await self.stop()
                raise RuntimeError("the emulators did not start")
            await asyncio.sleep(0.02)
        handed_over = json.loads(port_file.read_text())
        self.base_url, self.api_key = handed_over["base_url"], handed_over["api_key"]
        self._port = int(self.base_url.rpartition(":")[2])

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
