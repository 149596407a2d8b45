"""Folders and files of an installation are closed for other users of the machine, also where an older version left them open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cauce.checks import examine
from cauce.settings import load_settings
from schemas.common.private_files import keep_files_private, make_private_folder
from state import sqlite


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_new_files_and_folders_are_their_owners_alone(tmp_path: Path) -> None:
    keep_files_private()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file").write_text("")
    assert (mode(tmp_path / "new"), mode(tmp_path / "new" / "file")) == (0o700, 0o600)


def test_a_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir(mode=0o755)
    make_private_folder(tmp_path / "old")
    assert mode(tmp_path / "old") == 0o700


async def test_a_database_that_was_open_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch(0o644)
    stores = sqlite.from_url(f"sqlite://{path}")
    await stores.open()
    try:
        assert {mode(tmp_path / name) for name in os.listdir(tmp_path)} == {0o600}
    finally:
        await stores.close()


async def test_doctor_names_a_data_folder_that_others_may_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    found = {f.subject: f for f in await examine(load_settings(data=tmp_path / "data"))}["Data folder"]
    assert found.verdict == "problem"
    assert "chmod 700" in found.detail
    (tmp_path / "data").chmod(0o700)
    found = {f.subject: f for f in await examine(load_settings(data=tmp_path / "data"))}["Data folder"]
    assert found.verdict == "ok"
