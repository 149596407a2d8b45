"""The catalogue of tools, read once an hour and served from memory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from connectors.arcade.tool_spec import tool_spec
from connectors.toolset import ToolSpec

log = logging.getLogger("cauce.arcade")

TTL = 3600.0
RETRY = 5.0
"""Seconds before reading the catalogue is tried again after an error."""

ListTools = Callable[[], Awaitable[list[dict[str, Any]]]]


class Catalogue:
    """All tools by their names for models. After the first read it is always available; a refresh serves the old one."""

    def __init__(self, list_tools: ListTools, *, ttl: float = TTL, clock: Callable[[], float] = time.monotonic) -> None:
        self._list_tools, self._ttl, self._clock = list_tools, ttl, clock
        self._tools: dict[str, ToolSpec] | None = None
        self._due = float("-inf")
        self._reading: asyncio.Task[dict[str, ToolSpec]] | None = None

    async def tools(self) -> dict[str, ToolSpec]:
        """The tools. Raises a read error only if they have never been read."""
        if self._clock() >= self._due and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._read(), name="read-tool-catalogue")
            self._reading.add_done_callback(lambda t: t.cancelled() or t.exception())
        if self._tools is not None:
            return self._tools
        assert self._reading
        return await asyncio.shield(self._reading)

    async def get(self, name: str) -> ToolSpec | None:
        """The tool with this name."""
        return (await self.tools()).get(name)

    async def _read(self) -> dict[str, ToolSpec]:
        try:
            found: dict[str, ToolSpec] = {}
            for definition in await self._list_tools():
                try:
                    spec = tool_spec(definition)
                except (KeyError, TypeError) as error:
                    log.warning("a tool definition of the catalogue cannot be read: %r", error)
                else:
                    found[spec.name] = spec
        except BaseException:
            self._due = self._clock() + RETRY
            raise
        self._tools, self._due = found, self._clock() + self._ttl
        return found
