"""The one who calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, TypeAlias

from core.refusals import Forbidden, not_active
from schemas import SYSTEM_TENANT, TenantState

Scope = Literal["read", "write", "approve", "admin"]
"""`read`: see one's threads. `write`: send messages, change threads, cancel. `approve`: decide, and answer what a run asks.
`admin`: change the tenant, its users and their keys. `core/permissions.py` has the table."""
SCOPES: tuple[Scope, ...] = ("read", "write", "approve")
"""What a user's credential covers unless something else was asked for."""
ALL_SCOPES: tuple[Scope, ...] = (*SCOPES, "admin")
"""What a key may cover."""
LEFT: Mapping[TenantState, Collection[Scope]] = {
    "active": ALL_SCOPES,
    "paused": ("read", "admin"),
    "closed": (),
}
"""What the state of a tenant leaves of the scopes of its people. Who administers a paused tenant can resume it."""
Again: TypeAlias = "Callable[[], Awaitable[Principal | None]]"


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
    issued: datetime | None = None
    """When the credential was made; for users who were signed out everywhere since then it does not count."""
    provider: str = ""
    """The tenant's identity provider that vouches for it; when that is removed, it does not count any more."""
    tenant_state: TenantState = "active"
    """What `Access.admit` found."""
    again: Again | None = field(default=None, compare=False, repr=False)
    """Asks once more whom the credential belongs to, None if nobody any more; absent where nothing can take it away."""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Who calls, and with which credential."""
        return self.tenant_id, self.user_id, self.kind, self.credential_id

    @property
    def credential(self) -> str:
        """As the audit trail names it (`AuditEvent.credential`)."""
        return f"{self.kind}:{self.credential_id}" if self.credential_id else self.kind

    def lasting(self) -> Principal:
        """For what the process does for the caller on its own account: it continues when the credential ends."""
        return replace(self, kind="operator", expires=None, again=None)

    def covers(self, scope: Scope) -> bool:
        """Whether the credential has the scope, and the state of its tenant leaves it."""
        return scope in LEFT[self.tenant_state] and scope in self.scopes

    def require(self, scope: Scope, to: str = "") -> None:
        """Raises `Refused` when the credential does not cover this. `to` says what it is needed for."""
        if scope not in LEFT[self.tenant_state]:
            raise not_active(self.tenant_state)
        if scope not in self.scopes:
            needed = f", which is needed to {to}" if to else ""
            raise Forbidden("scope_missing", f"This credential does not have the scope {scope!r}{needed}.")

    def require_active(self) -> None:
        """Raises `Forbidden` unless the tenant is active: what lasts does not begin in one that is paused."""
        if self.tenant_state != "active":
            raise not_active(self.tenant_state)

    def require_operator(self) -> None:
        """Raises `Refused` unless this is whoever runs the installation."""
        self.require_over(SYSTEM_TENANT)

    def require_over(self, tenant_id: str) -> None:
        """Raises `Refused` unless this is an administrator of the tenant, or of the whole installation (`OPERATOR`)."""
        self.require("admin")
        if self.tenant_id not in (tenant_id, SYSTEM_TENANT):
            raise Forbidden("other_tenant", "This credential administers another tenant.")


OPERATOR = Principal(SYSTEM_TENANT, "operator", ALL_SCOPES, "operator")
"""Whoever runs the installation: its command line, and its processes when they start. Administers all tenants."""
