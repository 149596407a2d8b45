"""How tests let the work of `working_graphs.task` end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


class Gate:
    """The file that work waits for."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "until"
        self.file = str(self._path)

    def open(self) -> None:
        self._path.touch()


@pytest.fixture
def until(tmp_path: Path) -> Iterator[Gate]:
    """It is open in the end, so that no worker goes on for ever."""
    gate = Gate(tmp_path)
    yield gate
    gate.open()
