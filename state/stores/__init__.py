"""The stores: what each must do, whatever it is built on, and what its twins have in common. A file a store.

`state/sqlite` and `state/cassandra` pass the same conformance suite. Every method takes the tenant. A method that cannot reach
its server raises `Unavailable`; a write whose answer was lost raises `OutcomeUnknown` unless the store can find out by itself.
Times come from the caller's clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, get_type_hints

from state.keeping import StoreHolding
from state.stores.assistants import AssistantStore
from state.stores.attempts import AttemptStore
from state.stores.audit import AuditStore
from state.stores.credentials import Credentials
from state.stores.directory import Directory
from state.stores.items import ItemStore
from state.stores.journal import Journal
from state.stores.ledger import ToolLedger
from state.stores.positions import PositionStore
from state.stores.timers import TimerStore


class Stores(ABC):
    """All stores of one backend. These annotations are the list of the stores, each with its protocol: see `STORES`, `twin`."""

    journal: Journal
    ledger: ToolLedger
    directory: Directory
    audit: AuditStore
    credentials: Credentials
    items: ItemStore
    assistants: AssistantStore
    attempts: AttemptStore
    timers: TimerStore
    positions: PositionStore

    def __init__(self, backend: str, shared: Any) -> None:
        """Makes every store of a backend of what the stores of that backend share."""
        for name in STORES:
            setattr(self, name, twin(backend, name)(shared))

    @abstractmethod
    async def open(self) -> None:
        """Connects, waiting for the server with backoff until it answers or the task is cancelled."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Finishes running operations and closes all connections."""
        ...

    @abstractmethod
    async def migrate(self) -> list[str]:
        """Applies the missing migrations and returns their names; safe to call again and from several processes."""
        ...

    @abstractmethod
    async def pending_migrations(self) -> list[str]:
        """Names of the migrations that `migrate` would apply."""
        ...

    @abstractmethod
    async def ping(self) -> None:
        """Raises `Unavailable` when the server does not answer within two seconds."""
        ...


STORES: dict[str, type[Any]] = get_type_hints(Stores)
"""The protocols by the names of their stores."""

HOLDINGS: dict[str, StoreHolding] = {name: import_module(f"state.stores.{name}").HOLDING for name in STORES}
"""What each store keeps of people."""

BACKENDS = ("sqlite", "cassandra")


def twin(backend: str, name: str) -> type[Any]:
    """The class of a store in a backend: `SqliteTimers` of `state/sqlite/timers.py` for `timers` in `sqlite`."""
    found: type[Any] = getattr(import_module(f"state.{backend}.{name}"), f"{backend.title()}{name.title()}")
    return found
