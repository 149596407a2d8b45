"""Identities at OpenID providers: which user each one is.

An identity is what an issuer calls somebody: (issuer, claim, subject). Its user's id is derived from all of them, so that no
provider can name a user of another one, or of a key. An administrator may link an identity to any user of the tenant, which
admits it, too.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from pydantic import BaseModel

from core.audit_writer import AuditWriter
from core.principal import Principal
from core.refusals import Invalid, Missing, known_id, not_found
from schemas import Action, IdentityProvider, Timestamp, User, derived_id
from schemas.common.clock import utc_now
from schemas.common.recent import TtlCache
from state import Credentials, Directory, readable

KIND = "identity"
KNOWN_SECONDS = 5.0
"""How long a link is known without asking the store: one that was removed may work so long."""
LONGEST_SUBJECT = 255
"""OpenID Connect Core 1.0, section 2: `sub` has at most 255 characters."""
_NO_END = datetime(9999, 1, 1, tzinfo=UTC)


class LinkedIdentity(BaseModel):
    """A link as the store has it."""

    link_id: str
    issuer: str
    claim: str
    subject: str
    user_id: str
    created_at: Timestamp


def is_subject(given: object) -> bool:
    """Whether a claim's value can name somebody: a text without control characters."""
    return isinstance(given, str) and 0 < len(given) <= LONGEST_SUBJECT and given.isprintable()


def user_of_identity(issuer: str, claim: str, subject: str) -> str:
    """The id of an identity's own user: a readable part of the subject, and a hash of everything that identifies it."""
    shown = re.sub(r"[^A-Za-z0-9.\-]+", "-", subject)[:40].strip("-.")
    return derived_id(shown or "u", issuer, claim, subject)


class Identities:
    """The identities that administrators have linked to users of their tenants."""

    def __init__(self, store: Credentials, directory: Directory, trail: AuditWriter) -> None:
        self._store, self._directory, self._trail = store, directory, trail
        self._known: TtlCache[str | None] = TtlCache(ttl=KNOWN_SECONDS)

    async def link(
        self, by: Principal, tenant_id: str, user_id: str, *, provider_name: str, subject: str
    ) -> LinkedIdentity:
        """Makes an identity at a provider of the tenant this user, who is created when new. An earlier link of the identity is
        replaced. Raises `Invalid`, and `Missing` when there is no such tenant or provider."""
        by.require_over(tenant_id)
        known_id("user", user_id)
        if not is_subject(subject):
            raise Invalid("invalid", f"A subject has 1 to {LONGEST_SUBJECT} printable characters.")
        tenant = await self._directory.tenant(tenant_id)
        if tenant is None:
            raise not_found("tenant", tenant_id)
        provider = next((p for p in tenant.identity_providers if p.name == provider_name), None)
        if provider is None:
            raise not_found("provider", provider_name)
        made = LinkedIdentity(
            link_id=_link_id(provider, subject),
            issuer=provider.issuer,
            claim=provider.user_claim,
            subject=subject,
            user_id=user_id,
            created_at=utc_now(),
        )
        if await self._directory.user(tenant_id, user_id) is None:
            await self._directory.put_user(User(tenant_id=tenant_id, user_id=user_id, created_at=made.created_at))
        await self._store.put(tenant_id, KIND, made.link_id, made.model_dump_json().encode(), expires=_NO_END)
        details = made.model_dump(mode="json", include={"issuer", "claim", "subject"})
        about = {"user_id": user_id, "subject": made.link_id}
        await self._trail.write(by, Action.IDENTITY_LINKED, tenant_id=tenant_id, **about, details=details)
        return made

    async def unlink(self, by: Principal, tenant_id: str, link_id: str) -> None:
        """Removes a link. Gateways notice within `KNOWN_SECONDS`; sessions that have begun continue. Raises `Missing`."""
        by.require_over(tenant_id)
        body = await self._store.take(tenant_id, KIND, link_id)
        if body is None:
            raise Missing("link_not_found", f"The tenant {tenant_id!r} has no linked identity {link_id[:128]!r}.")
        whose = next((link.user_id for link in _links(tenant_id, [(link_id, body)])), None)
        await self._trail.write(by, Action.IDENTITY_UNLINKED, tenant_id=tenant_id, user_id=whose, subject=link_id)

    async def all(self, by: Principal, tenant_id: str) -> list[LinkedIdentity]:
        """The links of a tenant, by user."""
        by.require_over(tenant_id)
        found = _links(tenant_id, await self._store.list(tenant_id, KIND))
        return sorted(found, key=lambda link: (link.user_id, link.issuer, link.subject))

    async def user_of(self, tenant_id: str, provider: IdentityProvider, subject: str) -> str | None:
        """The user whom an identity is linked to, at most `KNOWN_SECONDS` old; None where there is no link."""
        link_id = _link_id(provider, subject)

        async def look() -> str | None:
            body = await self._store.get(tenant_id, KIND, link_id)
            found = _links(tenant_id, [(link_id, body)]) if body else []
            return found[0].user_id if found else None

        return await self._known.get((tenant_id, link_id), look)


def _link_id(provider: IdentityProvider, subject: str) -> str:
    return derived_id("id", provider.issuer, provider.user_claim, subject)


def _links(tenant_id: str, rows: list[tuple[str, bytes]]) -> list[LinkedIdentity]:
    return list(
        readable(
            rows,
            lambda row: LinkedIdentity.model_validate_json(row[1]),
            lambda row: f"the linked identity {row[0]} of {tenant_id}",
        )
    )
