"""A real Redis for tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

from waiting import until

from deploy.cluster.process import free_port


class RedisServer:
    """A `redis-server` that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        assert program, "the tests need redis-server (deploy/test_tools.sh)"
        self.port, self._folder, self._program = free_port(), folder, program
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self._process = subprocess.Popen([self._program, *options], cwd=self._folder, stdout=subprocess.DEVNULL)
        until(self._answers, 120)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait()
