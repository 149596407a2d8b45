"""Users: everybody reads and changes their own settings, administrators those of their tenant's users."""

from __future__ import annotations

from dataclasses import dataclass

from core.audit_writer import AuditWriter
from core.permissions import Operation, require
from core.principal import Principal
from core.refusals import known_id, known_time_zone, not_found
from schemas import Action, User
from schemas.common.clock import utc_now
from state import Directory


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """What to change about a user; None leaves it as it is, and an empty text removes it."""

    name: str | None = None
    time_zone: str | None = None
    """IANA name; the tenant's counts for users who have none."""


class Users:
    """The users that the installation's directory has. A user without settings has no row there."""

    def __init__(self, directory: Directory, trail: AuditWriter) -> None:
        self._directory, self._trail = directory, trail

    async def get(self, by: Principal, tenant_id: str, user_id: str) -> User:
        """A user's settings. One's own need no scope."""
        if not _is_self(by, tenant_id, user_id):
            by.require_over(tenant_id)
        return await self._directory.user(tenant_id, user_id) or _new(tenant_id, user_id)

    async def all(self, by: Principal, tenant_id: str) -> list[User]:
        """The users of a tenant that have settings."""
        by.require_over(tenant_id)
        return await self._directory.users(tenant_id)

    async def ensure(self, by: Principal, tenant_id: str, user_id: str) -> None:
        """Creates the user's row unless it exists."""
        by.require_over(tenant_id)
        if await self._directory.user(tenant_id, user_id) is None:
            await self._directory.put_user(_new(tenant_id, user_id))
            await self._trail.write(by, Action.USER_ADDED, tenant_id=tenant_id, user_id=user_id)

    async def change(self, by: Principal, tenant_id: str, user_id: str, change: UserChange) -> User:
        """The changed user, created when new. Raises `Invalid`, and `Missing` when there is no such tenant."""
        if _is_self(by, tenant_id, user_id):
            require(by, Operation.CHANGE_SELF)
        else:
            by.require_over(tenant_id)
        known_id("user", user_id)
        changes: dict[str, str | None] = {} if change.name is None else {"name": change.name}
        if change.time_zone is not None:
            changes["time_zone"] = known_time_zone(change.time_zone) if change.time_zone else None
        if await self._directory.tenant(tenant_id) is None:
            raise not_found("tenant", tenant_id)
        found = await self._directory.user(tenant_id, user_id)
        changed = (found or _new(tenant_id, user_id)).model_copy(update=changes)
        await self._directory.put_user(changed)
        action, details = Action.USER_CHANGED if found else Action.USER_ADDED, {"changed": sorted(changes)}
        await self._trail.write(by, action, tenant_id=tenant_id, user_id=user_id, details=details)
        return changed


def _is_self(by: Principal, tenant_id: str, user_id: str) -> bool:
    return (by.tenant_id, by.user_id) == (tenant_id, user_id)


def _new(tenant_id: str, user_id: str) -> User:
    return User(tenant_id=tenant_id, user_id=user_id, created_at=utc_now())
