"""`cauce chat` in a real terminal (a pseudo-terminal), as a person uses it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """What a person sees, and keys to press."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        self._master, slave = pty.openpty()
        own = {**environment, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cauce", "chat", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=own,
            start_new_session=True,
            preexec_fn=lambda: _own_terminal(slave),
        )
        os.close(slave)
        self._seen = ""

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def type(self, line: str) -> None:
        self.press(f"{line}\r")

    def sees(self, words: str, seconds: float = 120) -> str:
        """Waits until the words appear, and returns what came up to them; the next look begins after them."""
        return self._until([words], seconds)[0]

    def sees_one_of(self, *words: str) -> str:
        """Which of these comes first; the next look begins after it."""
        return self._until(words, 120)[1]

    def _until(self, wanted: Sequence[str], seconds: float) -> tuple[str, str]:
        deadline = time.monotonic() + seconds
        while not (found := [words for words in wanted if words in self._seen]):
            left = deadline - time.monotonic()
            assert left > 0, f"none of {wanted} appeared; the terminal shows:\n{self._seen}"
            if select.select([self._master], [], [], left)[0]:
                self._seen += _CONTROL.sub("", self._read()).replace("\r", "")
        first = min(found, key=self._seen.index)
        before, _, self._seen = self._seen.partition(first)
        return before + first, first

    def _read(self) -> str:
        try:
            text = os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # the other side is closed
            text = ""
        assert text, f"it ended after:\n{self._seen}"
        return text

    def leave(self) -> None:
        """Presses Ctrl-C until the chat is left, as a person does: Python misses one between the prompt and its read."""
        for _ in range(10):
            self.press("\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):
                assert self.process.wait(2) == 0
                return
        raise AssertionError(f"it does not end; the terminal shows:\n{self._seen}")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


def _own_terminal(slave: int) -> None:
    """Makes it the controlling terminal, so that Ctrl-C is a signal, also where the tests run with that signal ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


@contextmanager
def chatting(environment: Mapping[str, str], *arguments: str) -> Iterator[Terminal]:
    """A chat that has said its first word."""
    terminal = Terminal(environment, *arguments)
    try:
        terminal.sees("you ›")
        yield terminal
    finally:
        terminal.close()
