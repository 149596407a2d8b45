"""What runs on this machine: the runtime file of `cauce up`, and the notes of services, in the data folder.

`<data>/cauce.json` is written by the supervisor, `<data>/run/NAME.json` by its services, and `<data>/run/NAME-PID.json` by those
that run beside it. Files are written atomically and readable only by their owner; a file whose process is gone is ignored.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from cauce.program import run_folder
from cauce.settings import Settings
from connectors.arcade import ArcadeSettings
from schemas import CauceError, Timestamp
from schemas.common.clock import utc_now
from streams.settings import KafkaAccess

log = logging.getLogger("cauce")

POLL_SECONDS = 0.05
"""Interval at which the runtime file is read while waiting for it."""


class NotRunning(CauceError):
    """No system runs in the data folder, or the one that does is not ready."""


class _Note(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    pid: int = Field(default_factory=os.getpid)
    started_at: Timestamp = Field(default_factory=utc_now)


class ServiceNote(_Note):
    """A service's description of itself. `health` is the base URL of its health page."""

    title: str = ""
    """Its name in messages to users."""
    health: str
    url: str | None = None
    """The URL for its clients, if it has any. `cauce up` restarts a service on the same port."""


class WorkerNote(ServiceNote):
    """A worker's description of itself."""

    groups: tuple[str, ...]
    model: str
    """The model used for agents with the model `auto`."""
    model_why: str
    graphs: tuple[str, ...] = ()
    """Hosted graphs that it runs."""
    not_served: tuple[str, ...] = ()
    """A sentence about each graph and each part of a `langgraph.json` that is not served."""


class GatewayNote(ServiceNote):
    """A gateway's description of itself. `login` is a one-time link that signs the owner in."""

    url: str
    login: str | None = None


class Running(_Note):
    """The system that `cauce up` runs. `pid` is the supervisor's."""

    version: str
    state: Literal["starting", "connected", "ready"] = "starting"
    """`ready`: every program is ready. `connected`, before that, is written by older versions."""
    kafka: str | None = None
    kafka_closed: bool = False
    """Whether its broker wants the password of the data folder; those of older versions did not."""
    state_url: str
    arcade_emulated: bool = True
    children: dict[str, int] = {}
    """Process ids by name."""
    ready: tuple[str, ...] = ()
    """Names of the processes that have been ready."""


Note = TypeVar("Note", bound=_Note)


def runtime_file(data: Path) -> Path:
    """The file in which the supervisor describes what runs."""
    return data / "cauce.json"


def emulators_file(data: Path) -> Path:
    """The file with the emulators' address and key."""
    return run_folder(data) / "emulators.json"


def broker_password_file(data: Path) -> Path:
    """The file with the password of the embedded broker, which `cauce up` makes."""
    return data / "broker.password"


def embedded_access(data: Path) -> KafkaAccess:
    """How the embedded broker of this data folder is used."""
    return KafkaAccess(user="cauce", password_file=broker_password_file(data).absolute())


def find_running(settings: Settings) -> Running:
    """The system of the data folder. Raises `NotRunning` when none runs."""
    running = _read(runtime_file(settings.data), Running)
    if running is None:
        raise NotRunning(
            f"Cauce is not running here (looked in {runtime_file(settings.data)}). Start it with: cauce up"
        )
    return running


def find_services(settings: Settings) -> list[ServiceNote]:
    """The services of this machine that use the data folder."""
    return _notes(settings, "*.json", ServiceNote)


def find_workers(settings: Settings) -> list[WorkerNote]:
    """The workers of this machine that use the data folder: first that of `cauce up`, then the oldest first."""
    return _notes(settings, "worker.json", WorkerNote) + _notes(settings, "worker-*.json", WorkerNote)


def find_gateway(settings: Settings) -> GatewayNote | None:
    """A gateway of this machine that uses the data folder: that of `cauce up`, otherwise the oldest."""
    found = _notes(settings, "gateway.json", GatewayNote) + _notes(settings, "gateway-*.json", GatewayNote)
    return found[0] if found else None


def write_running(data: Path, running: Running) -> None:
    """Writes the runtime file."""
    write_private(runtime_file(data), running.model_dump_json(indent=2))


@contextlib.contextmanager
def announced(settings: Settings, name: str, note: ServiceNote, *, supervised: bool = False) -> Iterator[None]:
    """Keeps the note of this process's service in place for the length of the block."""
    path = run_folder(settings.data) / (f"{name}.json" if supervised else f"{name}-{note.pid}.json")
    try:
        write_private(path, note.model_dump_json(indent=2))
    except OSError as error:
        log.warning("%s cannot be written, so commands on this machine do not find this %s: %s", path, name, error)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def connected(settings: Settings, *, wait: float = 0, after: Sequence[str] | None = None) -> Settings:
    """The settings with the addresses of the running system filled in; unchanged if they name a cluster.

    Blocks up to `wait` seconds while the system of the data folder starts: all of it, or the programs named in `after`. Raises
    `NotRunning` when there is none, or when it is not ready in time.
    """
    if not settings.embedded:
        return settings
    deadline = time.monotonic() + wait
    while True:
        running = find_running(settings)
        if running.kafka and (running.state == "ready" or (after is not None and _are_ready(running, after))):
            break
        if time.monotonic() >= deadline:
            raise NotRunning(f"Cauce is starting; see {settings.data / 'logs'} if it does not get ready")
        time.sleep(POLL_SECONDS)
    found: dict[str, object] = {
        "kafka": running.kafka,
        "kafka_access": embedded_access(settings.data) if running.kafka_closed else KafkaAccess(),
    }
    if running.arcade_emulated:
        found["connectors"] = {**settings.connectors, "arcade": _emulators(settings.data)}
    return settings.model_copy(update=found)


def _are_ready(running: Running, names: Sequence[str]) -> bool:
    return all(name in running.ready for name in names if name in running.children)


def write_private(path: Path, text: str) -> None:
    """Writes a file atomically, readable only by its owner. Creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(temporary, path)


def is_alive(pid: int) -> bool:
    """Whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _notes(settings: Settings, pattern: str, kind: type[Note]) -> list[Note]:
    found = (_read(path, kind) for path in run_folder(settings.data).glob(pattern))
    return sorted((note for note in found if note), key=lambda note: note.started_at)


def _read(path: Path, kind: type[Note]) -> Note | None:
    """The note, if it can be understood and its process is alive."""
    try:
        note = kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return note if is_alive(note.pid) else None


def _emulators(data: Path) -> ArcadeSettings:
    try:
        found = json.loads(emulators_file(data).read_text())
        return ArcadeSettings(url=found["base_url"], api_key=SecretStr(found["api_key"]))
    except (OSError, ValueError, KeyError) as error:
        raise NotRunning(f"the tool emulators are not running (looked in {emulators_file(data)})") from error
