"""The one who calls."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.errors import Forbidden

Scope = Literal["read", "write", "approve"]
"""`read`: see one's threads. `write`: send messages, change threads, cancel. `approve`: decide on side effects."""
SCOPES: tuple[Scope, ...] = ("read", "write", "approve")


@dataclass(frozen=True, slots=True)
class Principal:
    """A user of a tenant, as a credential proves."""

    tenant_id: str
    user_id: str
    scopes: Collection[str] = SCOPES
    kind: Literal["key", "token", "session"] = "key"
    credential_id: str = ""
    """Names the credential in the audit trail and in logs; no secret."""
    expires: datetime | None = None

    def require(self, scope: Scope) -> None:
        """Raises `Refused` when the credential does not cover this."""
        if scope not in self.scopes:
            raise Forbidden("scope_missing", f"This credential does not have the scope {scope!r}.")
