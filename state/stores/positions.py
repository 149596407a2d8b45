"""Positions: how far event sources have read."""

from __future__ import annotations

from typing import Protocol

from state.codec import Codec
from state.keeping import StoreHolding, erase_by_user
from state.readable import read


class PositionStore(Protocol):
    """A text by tenant, user and source. Tenant and user are empty for what a source reads for the whole installation.

    Two processes may keep positions of the same source, and the last one stays, also where it is behind the other.
    """

    async def get(self, tenant_id: str, user_id: str, source: str) -> str | None:
        """The position that was put last. Raises `UnreadableRow`."""
        ...

    async def put(self, tenant_id: str, user_id: str, source: str, position: str) -> None:
        """Stores or replaces one; it is durable when this returns."""
        ...

    async def users(self, tenant_id: str) -> list[str]:
        """The users that have positions, by id. Cassandra reads the keys of all tenants for it."""
        ...

    async def erase(self, tenant_id: str, user_id: str) -> None:
        """Removes all of a user."""
        ...


def decode_position(codec: Codec, stored: bytes, tenant_id: str, user_id: str, source: str) -> str:
    """A position as it was put. Raises `UnreadableRow`."""
    name = f"the position of {source} for {user_id} of {tenant_id}" if tenant_id else f"the position of {source}"
    return read(name, lambda: codec.decode(tenant_id, stored).decode())


HOLDING = StoreHolding(
    name="positions",
    kind="store",
    user="How far event sources have read the user's accounts.",
    exported="Nothing: they mean nothing to anybody but the source.",
    erased="Immediately.",
    tables=("positions",),
    erase=erase_by_user,
)
