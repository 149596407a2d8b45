"""Where things are kept: store protocols, and their SQLite and Cassandra twins.

Use `state.open_stores(...)` to get all stores of a backend; modules of a backend are imported only when it is chosen.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from schemas import Commit, Hydrated, SettingsError
from state.codec import Codec
from state.item_search import search_items
from state.journal_rows import summary
from state.keeping import Piece, StoreHolding
from state.pages import PAGE_BYTES, Page, Usage
from state.readable import read, readable
from state.spans import merged
from state.stores import BACKENDS, HOLDINGS, STORES, Stores
from state.stores.assistants import AssistantRow, AssistantStore, each_assistant, each_version
from state.stores.attempts import AttemptStore
from state.stores.audit import AuditPlace, AuditRow, AuditStore, users_of
from state.stores.credentials import Credentials
from state.stores.directory import Directory
from state.stores.items import MOST_LABELS, BadItem, Item, ItemStore, namespaces
from state.stores.journal import REPEATS, AlreadyDone, Committed, Journal, OwnedThread, Stale, ThreadPlace
from state.stores.ledger import ToolLedger
from state.stores.positions import PositionStore
from state.stores.timers import Timer, TimerStore

__all__ = [
    "BACKENDS",
    "HOLDINGS",
    "MOST_LABELS",
    "PAGE_BYTES",
    "REPEATS",
    "STORES",
    "AlreadyDone",
    "AssistantRow",
    "AssistantStore",
    "AttemptStore",
    "AuditPlace",
    "AuditRow",
    "AuditStore",
    "BadItem",
    "Codec",
    "Commit",
    "Committed",
    "Credentials",
    "Directory",
    "Hydrated",
    "Item",
    "ItemStore",
    "Journal",
    "OwnedThread",
    "Page",
    "Piece",
    "PositionStore",
    "Stale",
    "StoreHolding",
    "Stores",
    "ThreadPlace",
    "Timer",
    "TimerStore",
    "ToolLedger",
    "Usage",
    "each_assistant",
    "each_version",
    "merged",
    "namespaces",
    "open_stores",
    "read",
    "readable",
    "search_items",
    "summary",
    "users_of",
]


def open_stores(url: str, **options: Any) -> Stores:
    """The stores that `url` names, not connected yet: call `await stores.open()`.

    `sqlite:///path` is a file (`.db`, `.sqlite`, `.sqlite3`) or a folder to keep it in; see `state.sqlite.from_url`.
    `cassandra://host1,host2:9042/keyspace?rf=3&dc=name` is a Cassandra cluster; see `state.cassandra.from_url`.
    Options stand in the query of the URL or are given here, which wins. Raises `SettingsError` for a URL or an option
    that means nothing, and when the driver of the backend cannot be used.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from state.sqlite import from_url as sqlite_from_url

        return sqlite_from_url(url, **options)
    if scheme == "cassandra":
        from state.cassandra import from_url as cassandra_from_url

        return cassandra_from_url(url, **options)
    raise SettingsError(
        f"the state URL {url!r} names no store. Use sqlite:///path/to/folder, or cassandra://host:9042/keyspace."
    )
