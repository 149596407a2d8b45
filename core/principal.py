"""The one who calls."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.refusals import Forbidden
from schemas import SYSTEM_TENANT

Scope = Literal["read", "write", "approve", "administer"]
"""`read`: see one's threads. `write`: send messages, change threads, cancel. `approve`: decide on side effects. `administer`:
change the tenant, its users and their keys."""
SCOPES: tuple[Scope, ...] = ("read", "write", "approve")
"""What a user's credential may cover."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A user of a tenant, as a credential proves."""

    tenant_id: str
    user_id: str
    scopes: Collection[str] = SCOPES
    kind: Literal["key", "token", "session", "operator"] = "key"
    """`operator`: no credential, but a process that has the installation's stores."""
    credential_id: str = ""
    """Names the credential in the audit trail and in logs; no secret."""
    expires: datetime | None = None

    def require(self, scope: Scope) -> None:
        """Raises `Refused` when the credential does not cover this."""
        if scope not in self.scopes:
            raise Forbidden("scope_missing", f"This credential does not have the scope {scope!r}.")

    def require_over(self, tenant_id: str) -> None:
        """Raises `Refused` unless this is an administrator of the tenant, or of the whole installation (`OPERATOR`)."""
        self.require("administer")
        if self.tenant_id not in (tenant_id, SYSTEM_TENANT):
            raise Forbidden("other_tenant", "This credential administers another tenant.")


OPERATOR = Principal(SYSTEM_TENANT, "operator", (*SCOPES, "administer"), "operator")
"""Whoever runs the installation: its command line, and its processes when they start. Administers all tenants."""
