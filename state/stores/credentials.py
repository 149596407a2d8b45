"""Keys, sessions and one-time links."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from state.codec import Codec
from state.keeping import StoreHolding
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

    async def erase(self, tenant_id: str, *, expired: bool = False) -> None:
        """Removes all of a tenant, or those that have expired, for good. Cassandra reads the keys of all tenants for it."""
        ...

    async def kinds(self, tenant_id: str) -> Sequence[str]:
        """The kinds that a tenant has credentials of. Cassandra reads the keys of all tenants for it."""
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


async def _erase(credentials: Credentials, tenant_id: str, user_id: str | None, before: datetime) -> None:
    await credentials.erase(tenant_id, expired=user_id is not None)
    for kind in await credentials.kinds(tenant_id) if user_id is not None else ():
        for credential_id, body in await credentials.list(tenant_id, kind):
            if _holder(body) == user_id:
                await credentials.take(tenant_id, kind, credential_id)


def _holder(body: bytes) -> str:
    """The user of a credential: named in its JSON, or the body is the user's id itself."""
    try:
        said = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
    return str(said.get("user_id", "")) if isinstance(said, dict) else body.decode()


HOLDING = StoreHolding(
    name="credentials",
    kind="store",
    user="API keys, sessions, login links (of secrets only hashes), and links to identities at OpenID providers.",
    tenant="Logins that have begun, for some minutes.",
    exported="Nothing: they are of no use to anybody but their holder, who has them.",
    erased="Immediately. A gateway may accept a key for 5 s more.",
    tables=("credentials",),
    erase=_erase,
)
