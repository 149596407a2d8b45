"""One server as a process: start it, wait until it answers, stop, kill or freeze it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

from deploy.cluster.errors import ClusterError, end_of_file, last_lines

HOST = "127.0.0.1"
_PR_SET_TIMERSLACK = 29  # linux/prctl.h
_STOPPED_SECONDS = 60.0  # until a process has stopped after SIGSTOP; only a lost signal takes this long
_POLL = 0.05  # seconds between two checks of a starting server
# Below the ports that Linux uses for outgoing connections (32768 and up): there, a client that keeps trying to reach a
# stopped server can be assigned the server's port, connect to itself and keep the port busy.
_FREE_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing is listening."""
    while True:
        port = random.choice(_FREE_PORTS)
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether a server could currently listen on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


class ServerProcess(ABC):
    """A server with its data, configuration and log in one folder, and the same ports for its lifetime.

    It may be stopped or killed and restarted any number of times and keeps its data. It runs in its own session, so that
    Ctrl-C in a terminal does not reach it, and it is killed when the process that started it is gone.
    The methods block; from a coroutine call them with `asyncio.to_thread`.
    """

    name: ClassVar[str]
    start_timeout: ClassVar[float] = 300.0  # seconds; far more than usual, because machines that run tests are busy
    timer_slack: ClassVar[int] = 0  # ns by which its timers may be late; 0 keeps the default of 50,000

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        """Chooses a free port when `port` is 0. Writes and starts nothing yet."""
        self.data_dir = data_dir.resolve()
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Writes the configuration and everything else that a first start needs; returns the command line."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server answers clients; may also raise OSError if it does not."""

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"{HOST}:{self.port}"

    @property
    def log_path(self) -> Path:
        """The server's output; each start appends to it."""
        return self.data_dir / "server.log"

    @property
    def running(self) -> bool:
        """Whether the process exists; true also while it is paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            ClusterError: the server is not running.
        """
        if self._process is None or self._process.poll() is not None:
            raise ClusterError(f"{self.name} is not running; call start() first.")
        return self._process.pid

    def start(self) -> Self:
        """Starts the server and returns when it answers.

        Raises:
            ClusterError: it is already running, its port is taken, it exited, or it does not answer in time.
        """
        if self.running:
            raise ClusterError(f"{self.name} is already running (pid {self.pid}).")
        if not is_free(self.port):
            raise ClusterError(
                f"{self.name} cannot start: another process listens on {self.address}.\n"
                "Stop that (perhaps another `make cluster`) or choose another port."
            )
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = self._prepare()
        try:
            with self.log_path.open("ab") as log, _timer_slack(self.timer_slack):
                self._process = subprocess.Popen(
                    command,
                    cwd=self.data_dir,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._guard = _kill_when_we_are_gone(self._process.pid)
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, timeout: float = 30.0) -> None:
        """Stops the server gracefully (SIGTERM), with SIGKILL after `timeout` seconds; does nothing if it is not running."""
        if self._process is None:
            return
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """Kills the server immediately (SIGKILL); does nothing if it is not running."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def restart(self) -> Self:
        """Stops the server gracefully and starts it again with the same ports and data."""
        self.stop()
        return self.start()

    def pause(self) -> None:
        """Freezes the process (SIGSTOP): its connections stay open, but it answers nothing.

        Returns when all its threads have stopped.
        """
        os.kill(self.pid, signal.SIGSTOP)
        deadline = time.monotonic() + _STOPPED_SECONDS
        while not all(_stands(task) for task in Path(f"/proc/{self.pid}/task").glob("*")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the process {self.pid} does not stand still")
            time.sleep(0.01)

    def resume(self) -> None:
        """Resumes a frozen process (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.start_timeout
        while not self._answers_now():
            if process.poll() is not None:
                raise self._failed(f"ended with exit code {process.returncode} while it was starting")
            if time.monotonic() > deadline:
                raise self._failed(f"did not answer on {self.address} within {self.start_timeout:.0f} s")
            time.sleep(_POLL)

    def _answers_now(self) -> bool:
        try:
            return self._answers()
        except OSError:
            return False

    def _failed(self, what: str) -> ClusterError:
        log = last_lines(end_of_file(self.log_path))
        return ClusterError(f"{self.name} {what}. The last lines of {self.log_path}:\n{log}")


@contextlib.contextmanager
def _timer_slack(nanoseconds: int) -> Iterator[None]:
    """Gives processes that this thread starts in the block this timer slack, also for all their threads (prctl(2))."""
    if not nanoseconds or sys.platform != "linux":
        yield
        return
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_TIMERSLACK, 0, 0, 0, 0)  # 0 restores the thread's initial value


def _kill_when_we_are_gone(pid: int) -> subprocess.Popen[bytes]:
    """A shell that kills process `pid` when this process ends in any way, SIGKILL included.

    It waits on a pipe that only this process holds open. PR_SET_PDEATHSIG would not do: it fires when the starting
    thread ends, and servers are started from worker threads too.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill -KILL "$0"', str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _stands(task: Path) -> bool:
    """Whether a thread of a process is stopped, or gone (proc(5): the state follows the name in parentheses)."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] in "TtXZ"
    except OSError:
        return True
