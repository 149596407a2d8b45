"""Cauce on real servers as its operator runs it: every worker a process of `cauce work`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from forked_commands import run_command
from waiting import until

from deploy.cluster.process import free_port

CAUCE = (sys.executable, "-m", "cauce")


class WorkerProcess:
    """One `cauce work GROUP...`."""

    def __init__(self, group: str, environment: Mapping[str, str], log: Path, program: Sequence[str] = CAUCE) -> None:
        self.group, self.program, self._port = group, tuple(program), free_port()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [*program, "work", *group.split()],
                env={**environment, "CAUCE_HEALTH_PORT": str(self._port)},
                stdout=errors,
                stderr=errors,
            )

    def get(self, path: str) -> httpx.Response | None:
        """What the health page answers; None while nobody does."""
        try:
            # Certificates, of which there are none here, would take longer to read than the page.
            return httpx.get(f"http://127.0.0.1:{self._port}{path}", trust_env=False, verify=False, timeout=5)
        except httpx.TransportError:
            assert self._process.poll() is None, f"the {self.group} worker ended by itself"
            return None

    def is_ready(self) -> bool:
        answer = self.get("/readyz")
        return answer is not None and answer.status_code == 200

    @property
    def state(self) -> str:
        """What its readiness page says, for the failure of a test."""
        answer = self.get("/readyz")
        return f"{self.group}: {answer.text if answer is not None else 'no answer'}"

    def metric(self, name: str) -> float:
        """The value of a metric that has the group as its only label."""
        answer = self.get("/metrics")
        wanted = f'{name}{{group="{self.group}"}} '
        lines = answer.text.splitlines() if answer else []
        return next((float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted)), 0.0)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self, seconds: float = 120) -> int:
        return self._process.wait(seconds)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


class OnServers:
    """Settings for a Kafka and a Cassandra, commands of `cauce` on them, and workers."""

    def __init__(self, folder: Path, **settings: str) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CAUCE_", "ARCADE_"))}
        self.folder = folder
        self.environment = {**clean, **settings, "CAUCE_DATA": str(folder / "data")}
        self.log = folder / "workers.log"

    def cauce(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        return run_command(arguments, self.environment)

    def told(self, *arguments: str) -> str:
        """What a command prints; it must succeed."""
        done = self.cauce(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.told(*arguments, "--json"))

    @contextmanager
    def workers(self, *groups: str) -> Iterator[list[WorkerProcess]]:
        """Workers that are ready; those that still run at the end are killed."""
        started = [self.worker(group) for group in groups]
        try:
            until(lambda: all(worker.is_ready() for worker in started), 120)
            yield started
        finally:
            for worker in started:
                worker.kill()

    def replace_ended(self, workers: list[WorkerProcess]) -> None:
        """Puts a new worker in the place of each that ended, and waits until all are ready."""
        for position, worker in enumerate(workers):
            if worker.has_ended:
                workers[position] = self.worker(worker.group)
        until(lambda: all(worker.is_ready() for worker in workers), 120)

    def worker(self, group: str, program: Sequence[str] = CAUCE) -> WorkerProcess:
        """Starts a worker and does not wait for it."""
        return WorkerProcess(group, self.environment, self.log, program)
