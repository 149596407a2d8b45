"""The embedded broker as a child process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from schemas.common.child_process import ChildProcess


class EmbeddedBroker(ChildProcess):
    """`python -m streams.embedded`. A restart listens on the same port."""

    def __init__(self, data: Path, *, port: int = 0, options: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._data, self._port, self._options = data, port, options
        self.bootstrap = ""

    async def start(self) -> None:
        """Starts and waits until the broker listens. Raises `RuntimeError` when it ends instead."""
        self._data.mkdir(parents=True, exist_ok=True)
        file = self._data / "address"
        file.unlink(missing_ok=True)
        arguments = ("--data", str(self._data), "--port", str(self._port), "--port-file", str(file), *self._options)
        await self.run("streams.embedded", *arguments, stdout=asyncio.subprocess.DEVNULL)
        self.bootstrap = await self.written(file)
        self._port = int(self.bootstrap.rpartition(":")[2])
