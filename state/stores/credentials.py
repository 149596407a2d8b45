"""Keys, sessions and one-time links."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Credentials(Protocol):
    """Keys, sessions and one-time links: small JSON bodies by tenant, kind and id, gone when they expire."""

    async def put(self, tenant_id: str, kind: str, credential_id: str, body: bytes, *, expires: datetime) -> None:
        """Stores or replaces one. The store forgets it at `expires`; an end that it cannot count to is for the reader to keep."""
        ...

    async def get(self, tenant_id: str, kind: str, credential_id: str) -> bytes | None:
        """The body of one that has not expired."""
        ...

    async def take(self, tenant_id: str, kind: str, credential_id: str) -> bytes | None:
        """Removes one and returns its body; of several callers one gets it, the others None."""
        ...

    async def list(self, tenant_id: str, kind: str) -> list[tuple[str, bytes]]:
        """Ids and bodies of a kind, by id."""
        ...
