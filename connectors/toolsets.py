"""All toolsets of an installation together: which tools agents are offered, and which toolset a call goes to.

A call goes to the toolset with the longest prefix of its tool's name. Every stored call has the name, so it goes to the same
toolset after a restart. Calls stored before there were several toolsets have no prefix and belong to Arcade.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from connectors.connector import connectors
from connectors.toolset import Call, ToolOutcome, Toolset, ToolSpec
from schemas import SettingsError
from schemas.common.section import Section

log = logging.getLogger("cauce.tools")


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools of all toolsets by name; the same object until one of them is refreshed."""

    tools: Mapping[str, ToolSpec]
    missing: tuple[str, ...] = ()
    """Toolsets whose tools could not be read yet."""
    left_out: tuple[str, ...] = ()
    """A sentence about each set of tools that are not offered because their names belong to another toolset."""


class Toolsets:
    """The toolsets of one process. Call `close` at the end."""

    def __init__(self, toolsets: Iterable[Toolset]) -> None:
        """Raises `SettingsError` if two toolsets have the same prefix."""
        self.all = tuple(toolsets)
        self._longest_first = sorted(self.all, key=lambda one: len(one.prefix), reverse=True)
        for one, other in zip(self._longest_first, self._longest_first[1:], strict=False):
            if one.prefix == other.prefix:
                alike = f"begin with {one.prefix!r}" if one.prefix else "have no prefix"
                raise SettingsError(
                    f"the names of tools of {one.id} and of {other.id} {alike}, and a call could go to the wrong one; "
                    "use only one of the two"
                )
        self._read: list[Mapping[str, ToolSpec] | None] | None = None
        self._offer = Offer({})

    def owner(self, name: str) -> Toolset | None:
        """The toolset to which a tool with this name belongs, whether or not the tool exists."""
        return next((one for one in self._longest_first if name.startswith(one.prefix)), None)

    async def offer(self) -> Offer:
        """The tools that agents can be offered now. Toolsets that cannot be read are left out."""
        reads = [_tools_of(one) for one in self.all]
        read = (
            [await reads[0]] if len(reads) == 1 else await asyncio.gather(*reads)
        )  # a single one needs no task in every turn
        if self._read is None or any(new is not old for new, old in zip(read, self._read, strict=True)):
            self._read, self._offer = read, self._put_together(read)
            for notice in self._offer.left_out:
                log.warning(notice)
        return self._offer

    async def find(self, name: str) -> ToolSpec | None:
        """The tool with this name. Raises `Unavailable` if its toolset has never been able to read its tools."""
        owner = self.owner(name)
        return (await owner.tools()).get(name) if owner else None

    async def call(self, call: Call) -> ToolOutcome:
        """See `Toolset`."""
        return await self._of(call).call(call)

    async def reconcile(self, call: Call, since: datetime) -> ToolOutcome | None:
        """See `Toolset`."""
        return await self._of(call).reconcile(call, since)

    async def close(self) -> None:
        """Closes connections."""
        for one in self.all:
            await one.close()

    def _of(self, call: Call) -> Toolset:
        owner = self.owner(call.tool.name)
        assert owner, "a tool that was found belongs to a toolset"
        return owner

    def _put_together(self, read: Iterable[Mapping[str, ToolSpec] | None]) -> Offer:
        tools: dict[str, ToolSpec] = {}
        missing, left_out = [], []
        for one, found in zip(self.all, read, strict=True):
            if found is None:
                missing.append(one.id)
                continue
            elsewhere = {name: owner for name in found if (owner := self.owner(name)) is not one}
            tools |= {name: spec for name, spec in found.items() if name not in elsewhere}
            for name, owner in list(elsewhere.items())[:1]:
                begins = (
                    f"names that begin with {owner.prefix!r}"
                    if owner and owner.prefix
                    else "names without a known prefix"
                )
                whose = (
                    f"{begins} are tools of {owner.id}" if owner else f"names of its tools begin with {one.prefix!r}"
                )
                left_out.append(f"{len(elsewhere)} tools of {one.id} are not offered, such as {name}: {whose}")
        return Offer(tools, tuple(missing), tuple(left_out))


async def _tools_of(toolset: Toolset) -> Mapping[str, ToolSpec] | None:
    try:
        return await toolset.tools()
    except Exception as error:
        log.warning("the tools of %s cannot be read: %r", toolset.id, error)
        return None


def made_toolsets(settings: Mapping[str, Section]) -> Toolsets:
    """The toolsets that the settings configure. Raises `SettingsError`, with what to set, if there is none."""
    with_tools = [one for one in connectors() if one.toolset]
    made = [toolset for one in with_tools if one.toolset and (toolset := one.toolset(settings[one.name]))]
    if not made:
        raise SettingsError(
            "no toolset is configured: " + "; ".join(f"for {one.name}, {one.unset}" for one in with_tools)
        )
    return Toolsets(made)


def toolset_imports() -> tuple[str, ...]:
    """Modules that tool calls need and that are slow to import."""
    return tuple(module for one in connectors() if one.toolset for module in one.imports)
