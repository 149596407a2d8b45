"""The one clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from schemas.common.clock import utc_now


def test_the_time_is_that_of_the_machine_in_utc() -> None:
    before, now, after = time.time(), utc_now(), time.time()
    assert now.tzinfo is UTC
    assert before - 1e-3 <= now.timestamp() <= after + 1e-3


def test_who_replaces_the_time_of_the_machine_replaces_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 86_400.5)
    assert utc_now() == datetime(1970, 1, 2, 0, 0, 0, 500_000, tzinfo=UTC)
