"""A process of the embedded system, as `cauce up` starts, watches and stops it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from cauce.settings import Settings


def run_folder(data: Path) -> Path:
    """The folder of the files by which processes find each other."""
    return data / "run"


_BASIC = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "LANG", "LANGUAGE", "TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV")
_BASIC_BEGINNINGS = ("LC_", "PYTHON", "LD_", "DYLD_", "SSL_CERT_", "COVERAGE_")


def basic_variables(settings: Settings, given: Mapping[str, str]) -> Mapping[str, str]:
    """What any program needs to run, and no key of the user's: for programs that get all they need as arguments."""
    return {name: value for name, value in given.items() if name in _BASIC or name.startswith(_BASIC_BEGINNINGS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a module of `cauce/services/` declares, as `PROGRAM` or through its `SERVICE`."""

    name: str
    arguments: Callable[[Settings], Sequence[str]]
    """Arguments of `python -m`: a module and its own arguments. A program with an address accepts `--port` as well."""
    file: str
    """Name of a file in `run_folder` that the program writes atomically once it is ready."""
    address: Callable[[str], str | None] = lambda text: None
    """From the text of its file, the URL at which others reach it. A restarted program gets the same port."""
    after: Sequence[str] = ()
    """Programs that must be ready before this one can work, and are stopped after it."""
    wanted: Callable[[Settings], bool] = lambda settings: True
    then: Callable[[Settings, str], Awaitable[Mapping[str, Any]]] | None = None
    """Called with the text of its file before dependent programs are awaited; returns fields of the runtime file."""
    variables: Callable[[Settings, Mapping[str, str]], Mapping[str, str]] = lambda settings, given: given
    """Which of the variables of `cauce up` it gets. See `basic_variables`."""
    stop_seconds: float | None = None
    """Time between the request to stop and SIGKILL; None: slightly more than the grace period of the settings."""


def levels(programs: Iterable[Program]) -> list[list[Program]]:
    """Sorted by `after`: the programs of one level depend only on earlier levels. Raises `ValueError` for a cycle.

    Names in `after` that no program has are ignored: those programs do not run here.
    """
    known = {program.name: program for program in programs}
    sorter = TopologicalSorter({one.name: [name for name in one.after if name in known] for one in known.values()})
    sorter.prepare()
    found = []
    while names := sorter.get_ready():
        found.append([known[name] for name in names])
        sorter.done(*names)
    return found
