"""The files by which commands find what runs on this machine."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cauce.running import (
    NotRunning,
    Running,
    WorkerNote,
    announced,
    connected,
    emulators_file,
    find_running,
    find_workers,
    runtime_file,
    write_private,
    write_running,
)
from cauce.settings import Settings
from connectors.arcade import ArcadeSettings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "var")


def running(settings: Settings, **fields: object) -> Running:
    fields = {"pid": os.getpid(), "state": "ready", "kafka": "127.0.0.1:1", "arcade_emulated": False, **fields}
    return Running(started_at=datetime.now(UTC), version="1", state_url=settings.state_url, **fields)  # type: ignore[arg-type]


def pid_of_the_dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_where_nothing_runs_the_way_to_start_it_is_said(settings: Settings) -> None:
    with pytest.raises(NotRunning, match="cauce up"):
        connected(settings)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\x00"])
def test_a_damaged_file_counts_as_absent(settings: Settings, content: bytes) -> None:
    runtime_file(settings.data).parent.mkdir(parents=True)
    runtime_file(settings.data).write_bytes(content)
    with pytest.raises(NotRunning):
        find_running(settings)


def test_a_system_whose_process_is_gone_counts_as_absent(settings: Settings) -> None:
    write_running(settings.data, running(settings, pid=pid_of_the_dead()))
    with pytest.raises(NotRunning):
        find_running(settings)


def test_a_file_of_a_newer_version_is_understood(settings: Settings) -> None:
    write_running(settings.data, running(settings))
    text = runtime_file(settings.data).read_text()
    write_private(runtime_file(settings.data), text.replace("{", '{"invented_later": 1,', 1))
    assert find_running(settings).kafka == "127.0.0.1:1"


def test_a_starting_system_is_waited_for_and_no_longer_than_asked(settings: Settings) -> None:
    write_running(settings.data, running(settings, state="starting"))
    with pytest.raises(NotRunning, match="logs"):
        connected(settings, wait=0.1)
    ready = threading.Timer(0.2, write_running, (settings.data, running(settings)))
    ready.start()
    assert connected(settings, wait=30).kafka == "127.0.0.1:1"
    ready.join()


def test_the_addresses_of_the_emulators_are_filled_in(settings: Settings) -> None:
    write_running(settings.data, running(settings, arcade_emulated=True))
    with pytest.raises(NotRunning, match="emulators"):
        connected(settings)
    write_private(emulators_file(settings.data), '{"base_url": "http://127.0.0.1:2", "api_key": "k"}')
    found = connected(settings)
    arcade = found.of(ArcadeSettings)
    assert arcade.url == "http://127.0.0.1:2"
    assert arcade.api_key
    assert arcade.api_key.get_secret_value() == "k"


def test_settings_that_name_a_cluster_need_no_running_system(settings: Settings) -> None:
    cluster = settings.model_copy(update={"kafka": "127.0.0.1:9"})
    assert connected(cluster) is cluster


def test_a_worker_is_found_while_it_runs_and_not_afterwards(settings: Settings) -> None:
    note = WorkerNote(groups=("turns",), health="http://127.0.0.1:3", model="rules", model_why="none found")
    with announced(settings, "worker", note):
        assert [(note.pid, note.groups) for note in find_workers(settings)] == [(os.getpid(), ("turns",))]
    assert find_workers(settings) == []


def test_only_the_owner_may_read_what_is_written(settings: Settings) -> None:
    write_running(settings.data, running(settings))
    assert stat.S_IMODE(runtime_file(settings.data).stat().st_mode) == 0o600
    assert [path.name for path in settings.data.iterdir()] == ["cauce.json"], "no temporary file stays"
