"""The stores in Apache Cassandra 5, for several machines.

`session` is the bridge between the driver's threads and asyncio, `outcome` what is done about a lost answer; what the
rows mean is in one module a store.
"""

from __future__ import annotations

from typing import Any

from state.cassandra.driver import check_driver
from state.stores import Stores

__all__ = ["check_driver", "from_url"]


def from_url(url: str, **options: Any) -> Stores:
    """See `state.cassandra.stores.from_url`. Raises `SettingsError` also when the driver cannot be used."""
    check_driver()
    from state.cassandra import stores

    return stores.from_url(url, **options)
