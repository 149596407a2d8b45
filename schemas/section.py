"""A section of the settings. A room that has settings declares its own, and `cauce/settings.py` puts them together."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Fields with their defaults, bounds and descriptions; what is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
