"""Keys, sessions and one-time links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from state.codec import Codec
from state.readable import read, readable


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


def decode_credential(codec: Codec, body: bytes | str, tenant_id: str, kind: str) -> bytes:
    """The body of one. Raises `UnreadableRow`."""
    return read(f"a credential of the kind {kind} of {tenant_id}", lambda: codec.decode(tenant_id, body))


def decode_credentials(
    codec: Codec, rows: Iterable[Sequence[Any]], tenant_id: str, kind: str
) -> Iterator[tuple[str, bytes]]:
    """Ids and bodies of those that can be read."""
    return readable(
        rows,
        lambda row: (row[0], codec.decode(tenant_id, row[1])),
        lambda row: f"a credential of the kind {kind} of {tenant_id}",
    )
