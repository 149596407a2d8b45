"""The settings of Arcade: section `[arcade]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from schemas.common.section import HttpUrl, Section


def _empty_is_unset(value: SecretStr | None) -> SecretStr | None:
    return value if value and value.get_secret_value() else None


class ArcadeSettings(Section):
    """Arcade, which provides tools for agents."""

    VARIABLES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "url": ("ARCADE_BASE_URL",),
        "api_key": ("ARCADE_API_KEY",),
    }
    url: HttpUrl = Field(None, description="URL of Arcade's engine, http:// or https://")
    api_key: Annotated[SecretStr | None, AfterValidator(_empty_is_unset)] = Field(
        None, description="Arcade's API key; tools are emulated when not set"
    )
