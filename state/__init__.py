"""Where things are kept: store protocols, and their SQLite and Cassandra twins.

Use `state.open_stores(...)` to get all stores of a backend; modules of a backend are imported only when it is chosen.
"""

from state.protocols import (
    AlreadyDone,
    AttemptStore,
    AuditRow,
    AuditStore,
    Commit,
    Committed,
    Directory,
    Hydrated,
    Journal,
    Stale,
    Stores,
    ToolLedger,
)

__all__ = [
    "AlreadyDone",
    "AttemptStore",
    "AuditRow",
    "AuditStore",
    "Commit",
    "Committed",
    "Directory",
    "Hydrated",
    "Journal",
    "Stale",
    "Stores",
    "ToolLedger",
]
