"""The directory: tenants and users, and how their rows are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from schemas import Tenant, User
from state.codec import Codec
from state.keeping import Piece, StoreHolding
from state.readable import read, readable


class Directory(Protocol):
    """Tenants and users."""

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """The tenant of this id."""
        ...

    async def tenants(self) -> list[Tenant]:
        """All tenants, by id."""
        ...

    async def put_tenant(self, tenant: Tenant, *, expected_version: int) -> bool:
        """Stores the tenant if its stored version is the expected one (0: it must not exist). False when it is not.

        `tenant.version` is what is stored; raises `ValueError` unless it is above `expected_version`.
        """
        ...

    async def user(self, tenant_id: str, user_id: str) -> User | None:
        """The user of this id."""
        ...

    async def users(self, tenant_id: str) -> list[User]:
        """The tenant's users, by id."""
        ...

    async def put_user(self, user: User) -> None:
        """Stores or replaces the user."""
        ...

    async def remove_user(self, tenant_id: str, user_id: str) -> None:
        """Removes the user, if there is one."""
        ...

    async def remove_tenant(self, tenant_id: str) -> None:
        """Removes the tenant with its users, if there is one."""
        ...


def check_tenant_version(tenant: Tenant, expected_version: int) -> None:
    """Raises `ValueError` for a change that readers of the version could not see."""
    if tenant.version <= expected_version:
        raise ValueError(
            f"the tenant {tenant.tenant_id!r} has version {tenant.version}; a change of version {expected_version} "
            "must have a higher one"
        )


def decode_tenant(codec: Codec, body: bytes | str, tenant_id: str) -> Tenant:
    """A tenant. Raises `UnreadableRow`."""
    return read(f"the tenant {tenant_id}", lambda: Tenant.model_validate_json(codec.decode(tenant_id, body)))


def decode_tenants(codec: Codec, rows: Iterable[Sequence[Any]]) -> Iterator[Tenant]:
    """Tenants from rows of ids and bodies."""
    return readable(
        rows,
        lambda row: Tenant.model_validate_json(codec.decode(row[0], row[1])),
        lambda row: f"the tenant {row[0]}",
    )


def decode_user(codec: Codec, body: bytes | str, tenant_id: str, user_id: str) -> User:
    """A user. Raises `UnreadableRow`."""
    return read(f"the user {user_id} of {tenant_id}", lambda: User.model_validate_json(codec.decode(tenant_id, body)))


def decode_users(codec: Codec, rows: Iterable[Sequence[Any]], tenant_id: str) -> Iterator[User]:
    """Users from rows of ids and bodies."""
    return codec.models(User, tenant_id, rows, lambda found: f"the user {found} of {tenant_id}")


async def _copy(directory: Directory, tenant_id: str, user_id: str | None) -> AsyncIterator[Piece]:
    if user_id is None:
        tenant, users = await directory.tenant(tenant_id), await directory.users(tenant_id)
        if tenant is not None:
            yield Piece("tenant", tenant.to_bytes())
    else:
        user = await directory.user(tenant_id, user_id)
        users = [] if user is None else [user]
    for one in users:
        yield Piece(f"users/{one.user_id}", one.to_bytes())


async def _erase(directory: Directory, tenant_id: str, user_id: str | None, before: datetime) -> None:
    if user_id is None:
        await directory.remove_tenant(tenant_id)
    else:
        await directory.remove_user(tenant_id, user_id)


HOLDING = StoreHolding(
    name="directory",
    kind="store",
    user="The user's row: name, time zone, standing permissions.",
    tenant="The tenant's row: name, agents with their instructions, identity providers.",
    exported="Both.",
    erased="Immediately.",
    tables=("tenants", "users"),
    copy=_copy,
    erase=_erase,
)
