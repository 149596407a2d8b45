"""A section of the settings. A room that has settings declares its own, and `cauce/settings.py` puts them together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """Fields with their defaults, bounds and descriptions; what is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    VARIABLES: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """By field: variables of the service's own that give it, too, where ours does not."""
    PREFIX: ClassVar[str] = ""
    """What its settings begin with outside its table, where that is not the table's name: `kafka` of `[kafka_access]`."""


def _http_url(value: str | None) -> str | None:
    if not value:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be a URL that begins with http:// or https://")
    return value.rstrip("/")


HttpUrl = Annotated[str | None, AfterValidator(_http_url)]
"""The address of a server; None where it is not set."""
