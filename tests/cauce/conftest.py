"""One running system for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from running_system import RunningSystem


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    """A system that is ready. A test that stops it starts it again before it ends."""
    running = RunningSystem(tmp_path_factory.mktemp("up"))
    try:
        yield running.start()
    finally:
        running.end()
