"""Arcade as a toolset."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from connectors.arcade.arcade_catalogue import Catalogue
from connectors.arcade.arcade_client import ArcadeClient, arcade_user_id
from connectors.toolset import Call, ToolOutcome, ToolSpec
from schemas import Unavailable

CHECK_SECONDS = 5.0


class ArcadeToolset:
    """A toolset of one Arcade engine and its catalogue. See `connectors.toolset.Toolset`."""

    id = "arcade"
    prefix = ""

    def __init__(self, client: ArcadeClient) -> None:
        self._client, self._catalogue = client, Catalogue(client.list_tools)

    async def tools(self) -> Mapping[str, ToolSpec]:
        """See `Toolset`. The catalogue is read once an hour."""
        return await self._catalogue.tools()

    async def call(self, call: Call) -> ToolOutcome:
        """See `Toolset`. Arcade takes no idempotency key."""
        return await self._client.execute(tool=call.tool, arguments=call.arguments, user_id=_user_of(call))

    async def reconcile(self, call: Call, since: datetime) -> ToolOutcome | None:
        """See `Toolset`. Searches for the sent mail or the created task."""
        return await self._client.reconcile(
            tool=call.tool, arguments=call.arguments, user_id=_user_of(call), since=since
        )

    async def check(self) -> str:
        """See `Toolset`."""
        if wrong := await self._client.healthy(CHECK_SECONDS):
            raise Unavailable(wrong)
        return f"{self._client.base_url} answers and accepts the key"

    async def close(self) -> None:
        """See `Toolset`."""
        await self._client.close()


def _user_of(call: Call) -> str:
    return arcade_user_id(call.tenant_id, call.user_id)
