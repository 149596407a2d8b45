"""A processor group: what it reads, and how its processor is made. Each folder of this room that is one has its `GROUP`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from processors.settings_cache import TenantCache
from schemas import AgentSettings, Output, Tenant
from state import ItemStore, Stores
from streams import Group, Processor

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from connectors.graphs import Graphs
    from connectors.toolsets import Toolsets


class Parts(Protocol):
    """What processors are made of. Each is made when a group asks for it; all groups of a worker have the same one."""

    @property
    def stores(self) -> Stores:
        """Open stores."""
        ...

    @property
    def items(self) -> ItemStore:
        """The items of users, with the quotas of `[quota]`: for whatever puts into them on behalf of a user."""
        ...

    @property
    def tenants(self) -> TenantCache:
        """Tenants and their settings."""
        ...

    @property
    def toolsets(self) -> Toolsets:
        """Where tools come from. Raises `SettingsError` where none is set up."""
        ...

    async def graphs(self) -> Graphs:
        """The graphs that this installation hosts, loaded. Raises `SettingsError` for what cannot be served."""
        ...

    async def models(self) -> Callable[[Tenant, AgentSettings], BaseChatModel]:
        """Gives an agent of a tenant its chat model."""
        ...

    def emit(self, output: Output) -> None:
        """Sends a piece of an answer on its way, best effort."""
        ...

    def observe(self, stage: str, seconds: float) -> None:
        """Counts what a stage of a turn took."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorGroup(Group):
    """A group with its processor."""

    make: Callable[[Parts], Awaitable[Processor]]
    imports: tuple[str, ...] = ()
    """Modules that take long to import: they are loaded while other parts of the system start."""
