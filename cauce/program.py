"""A process of the embedded system, as `cauce up` starts, watches and stops it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from cauce.settings import Settings


def run_folder(data: Path) -> Path:
    """Where processes put the files by which others find them."""
    return data / "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a module of `cauce/services/` declares: as `PROGRAM`, or by its `SERVICE`."""

    name: str
    arguments: Callable[[Settings], Sequence[str]]
    """What `python -m` gets: a module and its arguments. It takes `--port` as well, where it has an address."""
    file: str
    """In `run_folder`: the program writes it, whole, once it is ready."""
    address: Callable[[str], str | None] = lambda text: None
    """Of the text of its file: the URL at which others know it. It is started again with the port of this."""
    after: Sequence[str] = ()
    """Programs that have to be ready before it can work, and that are stopped after it."""
    wanted: Callable[[Settings], bool] = lambda settings: True
    then: Callable[[Settings, str], Awaitable[Mapping[str, Any]]] | None = None
    """Done with the text of its file before those after it go on; gives fields of the runtime file."""
    stop_seconds: float | None = None
    """Until it is killed when it was told to stop; None: somewhat more than the grace period of the settings."""


def levels(programs: Iterable[Program]) -> list[list[Program]]:
    """In the order of `after`: those of a level need only levels before it. Raises `ValueError` for a circle.

    A name that nobody has is left out: that program is not wanted here.
    """
    known = {program.name: program for program in programs}
    sorter = TopologicalSorter({one.name: [name for name in one.after if name in known] for one in known.values()})
    sorter.prepare()
    found = []
    while names := sorter.get_ready():
        found.append([known[name] for name in names])
        sorter.done(*names)
    return found
