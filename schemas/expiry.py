"""How long a thread is there."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Stored, Timestamp

TtlStrategy = Literal["delete", "keep_latest"]
"""What happens at the end: the thread goes, or all of its history but the newest state."""


class ThreadTtl(Stored):
    """What a thread's owner, or the installation, has said about its end."""

    strategy: TtlStrategy = "delete"
    minutes: float = Field(gt=0)
    """Counted from when it was set."""
    expires_at: Timestamp
