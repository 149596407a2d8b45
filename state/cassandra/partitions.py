"""The partitions of a tenant, where the tenant is only the first part of their key: whoever asks has all keys of the table read.

That takes a while in a large cluster, and is for what is rare: to give somebody a copy of all that is theirs, and to erase it.
"""

from __future__ import annotations

from typing import Any

from state.cassandra.queries import Query
from state.cassandra.session import Session


async def of_tenant(session: Session, keys: Query, tenant_id: str) -> list[Any]:
    """The second parts of the keys whose first part is the tenant, in order. `keys` selects both, DISTINCT."""
    return sorted([second async for page in session.pages(keys) for tenant, second in page if tenant == tenant_id])
