"""OpenID providers that users sign in with: which tenant trusts which, and whom a provider's claims mean. The
providers' protocol itself is in `connectors/gateway/auth/`."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from core.admission import is_admitted
from core.identities import Identities, is_subject, user_of_identity
from core.principal import SCOPES, Principal
from core.refusals import Forbidden, not_found, shown
from schemas import IdentityProvider, Tenant, User
from schemas.common.clock import utc_now
from schemas.common.recent import TtlCache
from state import Directory

log = logging.getLogger("cauce.gateway")

KNOWN_SECONDS = 10.0
"""How long the tenants' providers are known without asking the store."""
MET_SECONDS = 600.0
"""How long a user is known to have a row in the directory."""


class IdentityProviders:
    """The providers of all tenants, as `Tenants.put_provider` sets them."""

    def __init__(self, directory: Directory, identities: Identities) -> None:
        self._directory, self._identities = directory, identities
        self._met: TtlCache[None] = TtlCache(ttl=MET_SECONDS)
        self._tenants: TtlCache[list[Tenant]] = TtlCache(ttl=KNOWN_SECONDS, size=1)

    async def find(self, tenant_id: str, name: str) -> IdentityProvider:
        """A tenant's provider. Raises `Missing`; nobody learns whether the tenant is there."""
        tenant = await self._directory.tenant(tenant_id)
        for provider in tenant.identity_providers if tenant else ():
            if provider.name == name:
                return provider
        raise not_found("provider", name)

    async def trusting(self, issuer: object, audiences: Collection[object]) -> tuple[str, IdentityProvider] | None:
        """The tenant and its provider that accept access tokens of an issuer for one of these audiences; None where none does,
        or several."""
        found = [
            (tenant.tenant_id, provider)
            for tenant in await self._tenants.get("all", self._directory.tenants)
            for provider in tenant.identity_providers
            if provider.issuer == issuer and _audience(provider) is not None and provider.audience in audiences
        ]
        if len(found) > 1:
            log.error("%d tenants trust the same issuer for the same audience: its sign-ins are refused", len(found))
            return None
        return found[0] if found else None

    async def admit(
        self,
        tenant_id: str,
        provider: IdentityProvider,
        claims: Mapping[str, Any],
        *,
        kind: Literal["token", "session"],
    ) -> Principal:
        """The user that the checked claims of a provider mean. Raises `Forbidden` unless somebody has admitted this identity."""
        subject = claims.get(provider.user_claim)
        if not is_subject(subject):
            raise Forbidden("claim_missing", f"The provider's token has no {provider.user_claim!r} that names a user.")
        subject = str(subject)
        if provider.user_claim == "email" and claims.get("email_verified") is not True:
            raise Forbidden("email_not_verified", "The provider has not verified this address.")
        user_id = await self._identities.user_of(tenant_id, provider, subject)
        if user_id is None and not is_admitted(provider, claims):
            detail = (
                f"The provider {provider.name!r} says that you are {shown(subject)}, who is not admitted here. An administrator "
                f"can link this identity to a user (cauce user link {tenant_id} USER --provider {provider.name} --subject "
                "SUBJECT) or admit domains, groups or claims of the provider (cauce tenant login add --allow-domain and others)."
            )
            raise Forbidden("not_admitted", detail)
        if user_id is None:
            user_id = user_of_identity(provider.issuer, provider.user_claim, subject)
        await self._met.get((tenant_id, user_id), lambda: self._note(tenant_id, user_id, claims))
        scopes = frozenset(provider.scopes) & frozenset(SCOPES)
        issued = claims.get("iat")
        return Principal(
            tenant_id,
            user_id,
            scopes,
            kind,
            credential_id=provider.name,
            expires=datetime.fromtimestamp(claims["exp"], UTC),
            issued=datetime.fromtimestamp(issued, UTC) if isinstance(issued, int | float) else None,
            provider=provider.name,
        )

    async def _note(self, tenant_id: str, user_id: str, claims: Mapping[str, Any]) -> None:
        """Gives the user a row in the directory, so that administrators see who has come."""
        if await self._directory.user(tenant_id, user_id) is None:
            name = next((v for n in ("name", "email") if isinstance(v := claims.get(n), str) and v.isprintable()), "")
            user = User(tenant_id=tenant_id, user_id=user_id, name=name[:200], created_at=utc_now())
            await self._directory.put_user(user)


def _audience(provider: IdentityProvider) -> str | None:
    """The audience of access tokens. An older version stored providers for which it was the client id."""
    return None if provider.audience == provider.client_id else provider.audience
