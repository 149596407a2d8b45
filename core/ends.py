"""Ends of access: users are blocked and signed out, tenants paused and closed, providers removed. What each ends is in
docs/security.md. All of it can be repeated, and needs only the stores: gateways and workers follow within seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from core.api_keys import ApiKey, ApiKeys
from core.audit_writer import AuditWriter
from core.due_timers import timer_of
from core.principal import Principal
from core.refusals import Conflict, known_id, not_found
from core.sessions import Session, Sessions
from core.tenant_settings import Tenants
from schemas import Action, EndRuns, Tenant, ThreadKey, User
from schemas.common.clock import utc_now
from schemas.ids import new_id
from state import Stores

_TRIES = 5


class Ends:
    """For a tenant's administrators."""

    def __init__(self, stores: Stores, tenants: Tenants, keys: ApiKeys, sessions: Sessions, trail: AuditWriter) -> None:
        self._directory, self._timers = stores.directory, stores.timers
        self._tenants, self._keys, self._sessions, self._trail = tenants, keys, sessions, trail

    async def add_user(self, by: Principal, tenant_id: str, user_id: str, *, name: str = "") -> User:
        """A new user. Raises `Conflict` where there is one of this id."""
        await self._tenants.get(by, tenant_id)
        known_id("user", user_id)
        if await self._directory.user(tenant_id, user_id) is not None:
            raise Conflict("user_exists", f"The user {user_id!r} exists already.")
        made = User(tenant_id=tenant_id, user_id=user_id, name=name, created_at=utc_now())
        await self._directory.put_user(made)
        await self._trail.write(by, Action.USER_ADDED, tenant_id=tenant_id, user_id=user_id)
        return made

    async def block(self, by: Principal, tenant_id: str, user_id: str, *, erasing: bool = False) -> User:
        """No credential of the user counts any more, and what was begun for them ends. Also for one that has no settings yet.

        `erasing`: and until all that is kept of the user is erased, nobody unblocks them.
        """
        state = {"blocked": True, **({"erasing": True} if erasing else {})}
        found = await self._change(by, tenant_id, user_id, lambda user: user.model_copy(update=state))
        await self._trail.write(by, Action.USER_BLOCKED, tenant_id=tenant_id, user_id=user_id)
        await self._end_runs(tenant_id, user_id)
        return found

    async def unblock(self, by: Principal, tenant_id: str, user_id: str) -> User:
        """The user's credentials count again, those that have not been ended otherwise."""
        found = await self._directory.user(tenant_id, user_id)
        if found and found.erasing:
            raise Conflict("being_erased", f"The user {user_id!r} is being erased; when that is done, add them again.")
        changed = await self._change(by, tenant_id, user_id, lambda user: user.model_copy(update={"blocked": False}))
        await self._trail.write(by, Action.USER_UNBLOCKED, tenant_id=tenant_id, user_id=user_id)
        return changed

    async def sign_out(self, by: Principal, tenant_id: str, user_id: str) -> User:
        """Ends all sessions, keys and tokens that the user has now; new ones count. What was begun with them continues."""
        now = utc_now()
        found = await self._change(by, tenant_id, user_id, lambda user: user.model_copy(update={"not_before": now}))
        await self._trail.write(by, Action.USER_SIGNED_OUT, tenant_id=tenant_id, user_id=user_id)
        await self._sessions.end_all(by, tenant_id, user_id)
        for key in await self.keys(by, tenant_id, user_id):
            if key.created_at < now:
                await self._keys.revoke(by, tenant_id, key.key_id)
        return found

    async def keys(self, by: Principal, tenant_id: str, user_id: str) -> list[ApiKey]:
        """The keys that act as the user."""
        known_id("user", user_id)
        return [key for key in await self._keys.list(by, tenant_id) if key.user_id == user_id]

    async def sessions(self, by: Principal, tenant_id: str, user_id: str) -> list[tuple[str, Session]]:
        """The user's sessions with the beginnings of their ids."""
        known_id("user", user_id)
        return await self._sessions.of(by, tenant_id, user_id)

    async def pause(self, by: Principal, tenant_id: str) -> Tenant:
        """What is there can be read, and nothing else: inputs are held until the tenant is resumed."""
        return await self._put(by, tenant_id, Action.TENANT_PAUSED, paused=True)

    async def resume(self, by: Principal, tenant_id: str) -> Tenant:
        """Undoes `pause`, and for the installation's operator `close`."""
        found = await self._tenants.get(by, tenant_id)
        if found.erasing:
            raise Conflict("being_erased", f"The tenant {tenant_id!r} is being erased.")
        if found.closed:
            by.require_operator()
        return await self._put(by, tenant_id, Action.TENANT_RESUMED, paused=False, closed=False)

    async def close(self, by: Principal, tenant_id: str, *, erasing: bool = False) -> Tenant:
        """Nobody gets in, and everything that was begun ends. What is kept stays; only the installation's operator resumes it."""
        state = {"erasing": True} if erasing else {}
        closed = await self._put(by, tenant_id, Action.TENANT_CLOSED, paused=True, closed=True, **state)
        await self._end_runs(tenant_id, None)
        return closed

    async def remove_provider(self, by: Principal, tenant_id: str, name: str) -> None:
        """Ends the sign-in with a provider, and what was begun with it. Raises `Missing`."""
        found = await self._tenants.get(by, tenant_id)
        if all(one.name != name for one in found.identity_providers):
            raise not_found("provider", name)
        await self._tenants.remove_provider(by, tenant_id, name)
        await self._sessions.end_all(by, tenant_id, provider=name)

    async def _change(self, by: Principal, tenant_id: str, user_id: str, change: Callable[[User], User]) -> User:
        await self._tenants.get(by, tenant_id)
        known_id("user", user_id)
        found = await self._directory.user(tenant_id, user_id)
        changed = change(found or User(tenant_id=tenant_id, user_id=user_id, created_at=utc_now()))
        await self._directory.put_user(changed)
        return changed

    async def _put(self, by: Principal, tenant_id: str, action: Action, **state: bool) -> Tenant:
        for tries in range(1, _TRIES + 1):
            found = await self._tenants.get(by, tenant_id)
            if all(getattr(found, name) == value for name, value in state.items()):
                return found
            changed = found.model_copy(update={**state, "version": found.version + 1})
            if await self._directory.put_tenant(changed, expected_version=found.version):
                await self._trail.write(by, action, tenant_id=tenant_id)
                return changed
            if tries == _TRIES:
                break
        raise Conflict("changed_meanwhile", "Somebody else changes the tenant all the time; try again.")

    async def _end_runs(self, tenant_id: str, user_id: str | None) -> None:
        """Has a gateway end what runs, immediately or as soon as one is there."""
        now = utc_now()
        timer = timer_of(ThreadKey(tenant_id, ""), user_id or "", new_id("end"), EndRuns(user_id=user_id), now)
        await self._timers.put(timer)


CACHED = timedelta(seconds=20)
"""By then no worker knows anybody as unblocked any more (5 s), and what it began has been written down."""
