"""Arcade: the catalogue of tools, and tool calls, each made once and its outcome classified.

Users' provider tokens stay in Arcade: nothing here returns, logs or stores them.
"""

from connectors.arcade.arcade_catalogue import Catalogue
from connectors.arcade.arcade_client import ArcadeClient, arcade_user_id
from connectors.arcade.arcade_toolset import ArcadeToolset
from connectors.arcade.settings import ArcadeSettings
from connectors.connector import Connector

__all__ = ["CONNECTOR", "ArcadeClient", "ArcadeSettings", "ArcadeToolset", "Catalogue", "arcade_user_id"]


def _toolset(settings: ArcadeSettings) -> ArcadeToolset | None:
    if settings.api_key is None:
        return None
    return ArcadeToolset(ArcadeClient(settings.url, settings.api_key.get_secret_value()))


CONNECTOR = Connector(
    name="arcade",
    settings=ArcadeSettings,
    toolset=_toolset,
    unset="set ARCADE_API_KEY, or run `cauce emulators` and set what it prints",
    imports=("connectors.arcade.arcade_client", "arcadepy"),
)
