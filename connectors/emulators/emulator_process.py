"""The emulators as a child process."""

from __future__ import annotations

import json
from pathlib import Path

from schemas.common.child_process import ChildProcess


class EmulatorProcess(ChildProcess):
    """`python -m connectors.emulators`. A restart listens on the same port."""

    def __init__(self, data: Path, *, port: int = 0, auto_connect: bool = True, port_file: Path | None = None) -> None:
        super().__init__()
        self._data, self._port, self._auto_connect = data, port, auto_connect
        self._port_file = port_file or data / "port.json"
        self.base_url = ""
        self.api_key = ""

    async def start(self) -> None:
        """Starts the process and waits until its server listens. Raises `RuntimeError` if it exits instead."""
        self._data.mkdir(parents=True, exist_ok=True)
        file = self._port_file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        arguments = ["--data", str(self._data), "--port", str(self._port), "--port-file", str(file)]
        await self.run("connectors.emulators", *arguments, *([] if self._auto_connect else ["--no-auto-connect"]))
        handed_over = json.loads(await self.written(file))
        self.base_url, self.api_key = handed_over["base_url"], handed_over["api_key"]
        self._port = int(self.base_url.rpartition(":")[2])
