"""A toolset whose tools are given as data, for tests that need tools and nothing outside."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from connectors.toolset import Call, ToolOutcome, ToolSpec


class ListedTools:
    """Has these tools. Each call is kept, and is `ok` with what was called."""

    def __init__(self, *tools: ToolSpec, id: str = "listed", prefix: str = "") -> None:
        self.id, self.prefix = id, prefix
        self.listed: Mapping[str, ToolSpec] = {tool.name: tool for tool in tools}
        self.fails: Exception | None = None
        self.calls: list[Call] = []
        self.closed = False

    async def tools(self) -> Mapping[str, ToolSpec]:
        if self.fails:
            raise self.fails
        return self.listed

    async def call(self, call: Call) -> ToolOutcome:
        self.calls.append(call)
        return ToolOutcome("ok", f"{self.id} called {call.tool.name}")

    async def reconcile(self, call: Call, since: datetime) -> ToolOutcome | None:
        return ToolOutcome("ok", f"{self.id} found {call.tool.name}") if call in self.calls else None

    async def check(self) -> str:
        if self.fails:
            raise self.fails
        return f"{self.id} is here"

    async def close(self) -> None:
        self.closed = True


def tool(name: str, *, read_only: bool = False, idempotent: bool = False, **fields: object) -> ToolSpec:
    """A tool that takes anything."""
    parameters = fields.pop("parameters", {"type": "object", "properties": {}})
    return ToolSpec(
        name=name,
        description=f"{name}.",
        parameters=parameters,  # type: ignore[arg-type]
        read_only=read_only,
        idempotent=idempotent or read_only,
        **fields,  # type: ignore[arg-type]
    )
