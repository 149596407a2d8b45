"""Whether a caller gets in now, and what the state of their tenant leaves them: asked by the gateway for every request, and again
for whatever lasts longer than one. What each end ends is in docs/security.md."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from core.principal import Principal
from core.refusals import Expired, Forbidden, blocked, not_active
from core.tenant_settings import KNOWN_SECONDS
from schemas import Tenant, User
from schemas.common.clock import utc_now
from schemas.common.recent import TtlCache
from state import Directory

_KNOWN = 10_000


class Access:
    """The one gate for keys, tokens and sessions. Tenants, users and credentials are known for `KNOWN_SECONDS`: an end that is
    made elsewhere counts after that."""

    def __init__(self, directory: Directory, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._tenants: TtlCache[Tenant | None] = TtlCache(ttl=KNOWN_SECONDS, size=_KNOWN, clock=clock)
        self._users: TtlCache[User | None] = TtlCache(ttl=KNOWN_SECONDS, size=_KNOWN, clock=clock)
        self._again: TtlCache[Principal | None] = TtlCache(ttl=KNOWN_SECONDS, size=_KNOWN, clock=clock)

    async def admit(self, principal: Principal) -> Principal:
        """The principal with the state of its tenant, which limits what it may do.

        Raises `Forbidden` where the tenant is closed or gone, or the user is blocked; `Expired` where the credential was ended.
        """
        tenant = await self._tenants.get(principal.tenant_id, lambda: self._directory.tenant(principal.tenant_id))
        if tenant is None:
            raise Forbidden("tenant_gone", "The tenant of this credential does not exist any more.")
        if tenant.state == "closed":
            raise not_active(tenant.state)
        if principal.provider and all(one.name != principal.provider for one in tenant.identity_providers):
            raise _revoked("The provider that the user signed in with was removed.")
        whose = (principal.tenant_id, principal.user_id)
        user = await self._users.get(whose, lambda: self._directory.user(*whose))
        if user and user.blocked:
            raise blocked()
        if user and user.not_before and (principal.issued is None or principal.issued < user.not_before):
            raise _revoked("The user was signed out everywhere.")
        return principal if tenant.state == principal.tenant_state else replace(principal, tenant_state=tenant.state)

    async def still(self, principal: Principal) -> None:
        """Returns if what was begun with this credential may continue; many that ask for one credential share one look.

        Raises `Expired` and `Forbidden` as `admit` does, and where the tenant is paused. Whoever asks has to wait when it raises
        `ServerTrouble`: nobody knows.
        """
        known: Principal | None = principal
        if (again := principal.again) is not None:
            known = await self._again.get((*principal.identity, principal.issued, principal.expires), again)
        expires = (known or principal).expires  # a session may have been renewed
        if expires and utc_now() >= expires:
            raise Expired("expired", "The credential that this was begun with has expired.")
        if known is None:
            raise _revoked("It was revoked, or its session was ended.")
        if principal.kind != "operator":
            (await self.admit(principal)).require_active()


def _revoked(why: str) -> Expired:
    return Expired("revoked", f"The credential does not count any more. {why}")
