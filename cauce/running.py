"""Who runs here: the runtime file of `cauce up`, and the notes of workers, in the data folder.

`<data>/cauce.json` is written by the supervisor, `<data>/run/worker-PID.json` by each worker. Files are written whole and
readable by their owner alone; one whose process is gone counts as absent.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from cauce.settings import Settings
from schemas import CauceError, Timestamp

POLL_SECONDS = 0.05
"""Between two looks at the runtime file while it is waited for."""


class NotRunning(CauceError):
    """No system runs in the data folder, or the one that does is not ready."""


class _Note(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    pid: int
    started_at: Timestamp


class WorkerNote(_Note):
    """What a worker says about itself. `health` is the base URL of its health page."""

    groups: tuple[str, ...]
    health: str
    model: str
    """The model that agents with the model `auto` get."""
    model_why: str
    graphs: tuple[str, ...] = ()
    """Hosted graphs that it runs."""
    not_served: tuple[str, ...] = ()
    """In sentences, which are not, and what else of a `langgraph.json` is not there."""


class Running(_Note):
    """The system that `cauce up` runs. `pid` is the supervisor's."""

    version: str
    state: Literal["starting", "connected", "ready"] = "starting"
    """`connected`: topics and stores are there, a worker may start. `ready`: one does."""
    kafka: str | None = None
    state_url: str
    arcade_url: str | None = None
    arcade_emulated: bool = True
    children: dict[str, int] = {}
    """Process ids by name."""


Note = TypeVar("Note", bound=_Note)


def runtime_file(data: Path) -> Path:
    """Where the supervisor describes what runs."""
    return data / "cauce.json"


def emulators_file(data: Path) -> Path:
    """Where the emulators put their address and key."""
    return data / "run" / "emulators.json"


def find_running(settings: Settings) -> Running:
    """The system of the data folder. Raises `NotRunning` when none runs."""
    running = _read(runtime_file(settings.data), Running)
    if running is None:
        raise NotRunning(
            f"Cauce is not running here (looked in {runtime_file(settings.data)}). Start it with: cauce up"
        )
    return running


def find_workers(settings: Settings) -> list[WorkerNote]:
    """The workers of this machine that use the data folder, the oldest first."""
    found = [_read(path, WorkerNote) for path in (settings.data / "run").glob("worker-*.json")]
    return sorted((note for note in found if note), key=lambda note: note.started_at)


def write_running(data: Path, running: Running) -> None:
    """Puts the runtime file in place."""
    write_private(runtime_file(data), running.model_dump_json(indent=2))


@contextlib.contextmanager
def announced_worker(
    settings: Settings,
    groups: Sequence[str],
    *,
    health: str,
    model: str,
    model_why: str,
    graphs: Sequence[str] = (),
    not_served: Sequence[str] = (),
) -> Iterator[None]:
    """Leaves a note about the worker in this process, for as long as the block lasts."""
    path = settings.data / "run" / f"worker-{os.getpid()}.json"
    note = WorkerNote(
        pid=os.getpid(),
        started_at=datetime.now(UTC),
        groups=tuple(groups),
        health=health,
        model=model,
        model_why=model_why,
        graphs=tuple(graphs),
        not_served=tuple(not_served),
    )
    write_private(path, note.model_dump_json(indent=2))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def connected(settings: Settings, *, wait: float = 0, until: Literal["connected", "ready"] = "ready") -> Settings:
    """The settings with the addresses of the running system filled in; as they are when they name a cluster.

    Blocks up to `wait` seconds while the system of the data folder starts. Raises `NotRunning` when there is none, or
    when it is not ready in time.
    """
    if not settings.embedded:
        return settings
    deadline = time.monotonic() + wait
    while True:
        running = find_running(settings)
        if running.state in ("ready", until) and running.kafka:
            break
        if time.monotonic() >= deadline:
            raise NotRunning(f"Cauce is starting; look at {settings.data / 'logs'} if it does not get ready")
        time.sleep(POLL_SECONDS)
    found: dict[str, object] = {"kafka": running.kafka}
    if running.arcade_emulated:
        found["arcade_url"], found["arcade_api_key"] = _emulators(settings.data)
    return settings.model_copy(update=found)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, all of it or nothing. Makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(temporary, path)


def is_alive(pid: int) -> bool:
    """Whether a process of this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path, kind: type[Note]) -> Note | None:
    """The note, if it can be understood and its process is alive."""
    try:
        note = kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return note if is_alive(note.pid) else None


def _emulators(data: Path) -> tuple[str, SecretStr]:
    try:
        found = json.loads(emulators_file(data).read_text())
        return found["base_url"], SecretStr(found["api_key"])
    except (OSError, ValueError, KeyError) as error:
        raise NotRunning(f"the tool emulators are not running (looked in {emulators_file(data)})") from error
