"""Arcade: the catalogue of tools, and calls of them that are made once and classified.

Users' provider tokens stay in Arcade: nothing here returns, logs or stores them.
"""

from connectors.arcade.catalogue import Catalogue
from connectors.arcade.client import ArcadeClient, arcade_user_id
from connectors.arcade.outcomes import ToolOutcome
from connectors.arcade.tool_spec import ToolSpec

__all__ = ["ArcadeClient", "Catalogue", "ToolOutcome", "ToolSpec", "arcade_user_id"]
