"""Ids that a person types: an error names what was typed."""

from __future__ import annotations

from schemas.errors import SettingsError
from schemas.ids import ID_WORDS, is_id


def typed_id(what: str, given: str | None) -> str | None:
    """The id, or None. Raises `SettingsError` for what cannot be one."""
    if given is not None and not is_id(given):
        raise SettingsError(f"{given!r} cannot be the id of a {what}: it may have {ID_WORDS}")
    return given
