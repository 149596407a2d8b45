"""The one clock. Whoever has to be tested at other times takes a `Clock`, which is this one by default."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the time, in UTC."""


def utc_now() -> datetime:
    """The time of this machine, by `time.time`, which a simulation replaces."""
    return datetime.fromtimestamp(time.time(), UTC)
