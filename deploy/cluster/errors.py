"""The error of this package, and how it quotes the output of a program."""

from __future__ import annotations

from pathlib import Path


class ClusterError(Exception):
    """A server could not be fetched, started or stopped; the message explains why and what to do next."""


def last_lines(text: str, count: int = 15) -> str:
    """The last `count` non-blank lines, indented for quoting in an error."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(f"    {line}" for line in lines[-count:]) or "    (nothing was printed)"


def end_of_file(path: Path, size: int = 16_384) -> str:
    """The last `size` bytes of a log as text; empty when there is no such file."""
    if not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - size))
        return log.read().decode("utf-8", errors="replace")
