"""`cauce up` as a user starts it, and commands beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from forked_commands import run_command
from waiting import until

from cauce.running import Running, embedded_access, is_alive, runtime_file
from streams.kafka_servers import Kafka


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment without settings of the person who runs the tests."""
    ours = ("CAUCE_", "ARCADE_", "OPENAI_", "ANTHROPIC_", "OLLAMA_")
    return {**{k: v for k, v in os.environ.items() if not k.startswith(ours)}, "CAUCE_MODEL": "rules", **settings}


class RunningSystem:
    """One embedded system over a data folder; commands run in a folder of their own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.data, self._folder = folder / "var", folder
        self.environment = clean_environment(CAUCE_DATA=str(self.data), **settings)
        self.output = folder / "up.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 120) -> RunningSystem:
        """Starts it and returns when it says that it is ready."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cauce", "up"],
                env=self.environment,
                cwd=self._folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        process = self.process
        until(lambda: process.poll() is not None or "is ready" in self.output.read_text(), seconds)
        assert process.poll() is None, self.output.read_text()
        return self

    def stop(self, seconds: float = 120) -> int:
        """Stops it as Ctrl-C does; the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(seconds)

    def end(self) -> None:
        """Leaves nothing behind, however the test ended."""
        running = self.running
        if self.process:
            self.process.kill()
            self.process.wait()
        for pid in running.children.values() if running else ():
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)

    @property
    def running(self) -> Running | None:
        """What the runtime file says."""
        try:
            return Running.model_validate_json(runtime_file(self.data).read_bytes())
        except FileNotFoundError:
            return None

    @property
    def kafka(self) -> Kafka:
        """Its broker, with the password of the data folder."""
        assert self.running
        assert self.running.kafka
        return embedded_access(self.data).servers(self.running.kafka)

    def cauce(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        return run_command(arguments, self.environment, self._folder)

    def told(self, *arguments: str, code: int = 0) -> str:
        """What a command prints; it must end with this exit code."""
        done = self.cauce(*arguments)
        assert done.returncode == code, f"cauce {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.told(*arguments, "--json", code=code))

    def effects(self, text: str) -> int:
        """How many side effects the emulated services have made of mails and tasks with this text."""
        emulators = json.loads((self.data / "run" / "emulators.json").read_text())
        key = {"authorization": f"Bearer {emulators['api_key']}"}
        path = f"{emulators['base_url']}/_ctl/effects"
        made = httpx.get(path, headers=key, trust_env=False, verify=False, timeout=120).json()["effects"]
        return sum(text in json.dumps(effect) for effect in made)
