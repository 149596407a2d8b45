"""What is kept of people. A holding is declared beside whatever keeps it: a store, a topic, a file, an index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a store, topic, file or index keeps of a user and of a tenant, and how it is exported and erased, for an operator."""

    name: str
    kind: Literal["store", "topic", "file", "index"]
    user: str = ""
    """What it keeps of a user; empty for nothing."""
    tenant: str = ""
    """What it keeps of a tenant beside what it keeps of its users; empty for nothing."""
    exported: str
    """What of it an export has, and why it lacks the rest."""
    erased: str
    """What is erased immediately, and how long the rest stays."""
