"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], seconds: float = 120, shown: Callable[[], object] = str) -> None:
    """Waits until something holds, at most `seconds`; a failure says what `shown` returns."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not come within {seconds:g} s {shown()}"
        time.sleep(0.02)
