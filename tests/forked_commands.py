"""Commands of `cauce` in processes that have imported it already: importing takes longer than most commands do.

A parent process imports what the commands need, once, and forks for each command. The command is a process of its own with
its own environment and folder, begins in `main`, and ends as it does for a user. How `cauce` starts is tested elsewhere.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

_IMPORTED = (
    *("cauce.cli", "cauce.running", "cauce.opened_stores", "state.sqlite.stores", "state.cassandra.stores"),
    *("streams.record_producer", "connectors.chat_client.kafka_client", "core.store_core"),
)
"""What commands import when they run; another one is imported by the command itself."""


_BEFORE_IMPORTS = ("PYTHONPATH", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONHASHSEED", "TZ", "LANG", "LC_ALL")
"""Variables that Python looks at when it begins: a command with others than ours is a process of its own from the start."""


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Runs `cauce` with these arguments to its end."""
    command = ["cauce", *arguments]
    if any(environment.get(name) != os.environ.get(name) for name in _BEFORE_IMPORTS):
        return subprocess.run(
            [sys.executable, "-m", *command],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as errors,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(_parent())
        wanted = {"arguments": command[1:], "environment": dict(environment), "folder": str(folder or Path.cwd())}
        socket.send_fds(connection, [b"\n"], [out.fileno(), errors.fileno()])
        connection.sendall(json.dumps(wanted).encode() + b"\n")
        connection.settimeout(timeout)
        with connection.makefile("rb") as answers:
            pid = int(answers.readline())
            try:
                code = int(answers.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(command, timeout) from None
        return subprocess.CompletedProcess(command, code, _text(out), _text(errors))


def _text(file: Any) -> str:
    file.seek(0)
    found: str = file.read().decode()
    return found.replace("\r\n", "\n")


@cache
def _parent() -> str:
    """Starts the parent of all commands of this process; the address that it listens on. It ends with this process."""
    address = f"\0cauce-tests-{os.getpid()}-{os.urandom(8).hex()}"
    process = subprocess.Popen(
        [sys.executable, __file__, address[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout
    assert process.stdout.readline() == b"listening\n"
    _kept.append(process)
    return address


_kept: list[subprocess.Popen[bytes]] = []
"""Its standard input must stay open."""


def _serve(address: str) -> None:
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for a command
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{address}")
        listening.listen(64)
        print("listening", flush=True)
        while True:
            ready, _, _ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            connection, _ = listening.accept()
            if os.fork() == 0:
                break
            connection.close()
    _watch(connection)


def _watch(connection: socket.socket) -> None:
    """Starts the command of a connection, and tells its id and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, 1, 2)
    with connection.makefile("rb") as lines:
        wanted = json.loads(lines.readline())
    pid = os.fork()
    if pid == 0:
        connection.close()
        return _be(wanted, streams)
    connection.sendall(b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _be(wanted: dict[str, Any], streams: Sequence[int]) -> None:
    """The command, as if Python had just begun with it; and Python ends as it does after a command."""
    for position, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(descriptor, position)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(wanted["folder"])
    program = sys.modules["__main__"] = importlib.import_module("cauce.__main__")
    sys.path[0], sys.argv = wanted["folder"], [str(program.__file__), *wanted["arguments"]]
    program.main()


if __name__ == "__main__":
    _serve(sys.argv[1])
