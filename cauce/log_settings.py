"""What can be set about logging: `[log]`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from schemas.common.section import Section


class LogSettings(Section):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="minimum level of log messages")
    format: Literal["text", "json"] = Field("text", description="format of log messages")

    @field_validator("level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value
