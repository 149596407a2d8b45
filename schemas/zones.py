"""Time zones by their IANA names (`Europe/Madrid`)."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

LONGEST = 100


def zone_of(*names: str | None) -> tzinfo:
    """The zone of the first name that is one; UTC when none is."""
    return next((zone for name in names if name and (zone := known_zone(name))), UTC)


_NO_PLACES = frozenset({"localtime", "posixrules", "Factory"})
"""Files of a system's zone data that name no place: the machine's own zone, a default for it, and a placeholder."""
_OTHER_TREES = ("posix/", "right/")
"""Copies of the same zones on some systems; those under `right` count leap seconds."""


@functools.lru_cache(maxsize=1000)
def known_zone(name: str) -> tzinfo | None:
    """The zone of this name, where this system's data (or the package tzdata) know it."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    if len(name) > LONGEST or not name.isascii() or name.startswith((".", *_OTHER_TREES)) or name in _NO_PLACES:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # not there, a path, a folder, no zone's data
        return None


def check_zone(name: str) -> str:
    """The name, if a zone has it. Raises `ValueError` with a text for people."""
    if known_zone(name) is None:
        raise ValueError(f"{name[:LONGEST]!r} is no time zone: write an IANA name such as Europe/Madrid or UTC")
    return name


def time_in(zone: tzinfo, now: datetime) -> str:
    """A moment as text with its weekday, date, time and zone: `Friday, 2026-11-27 18:00 (America/Los_Angeles, UTC-08:00)`."""
    local = now.astimezone(zone)
    if zone is UTC:
        return f"{_WEEKDAYS[local.weekday()]}, {local:%Y-%m-%d %H:%M} UTC"
    name = getattr(zone, "key", None) or local.tzname()
    offset = local.isoformat()[-6:]
    return f"{_WEEKDAYS[local.weekday()]}, {local:%Y-%m-%d %H:%M} ({name}, UTC{offset})"


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
