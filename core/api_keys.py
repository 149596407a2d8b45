"""API keys: `ck.<tenant>.<key id>.<secret>`. The store has a hash of the secret, which is 256 random bits."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from pydantic import BaseModel

from core.audit_writer import AuditWriter
from core.principal import ALL_SCOPES, SCOPES, Principal
from core.refusals import Invalid, Missing, known_id, not_found
from schemas import Action, Timestamp, is_id, is_tenant_id
from schemas.common.clock import utc_now
from schemas.common.recent import TtlCache
from schemas.ids import random_digits
from state import Credentials, Directory, readable

KIND = "api_key"
PREFIX = "ck."
LIFETIME = timedelta(days=90)
"""How long a key lives unless it is made for another time."""
KNOWN_SECONDS = 5.0
"""How long a key is known without asking the store: a revoked one may work so long."""
_KNOWN = 10_000


class ApiKey(BaseModel):
    """A key as the store has it."""

    key_id: str
    user_id: str
    name: str = ""
    scopes: tuple[str, ...] = SCOPES
    created_at: Timestamp
    expires_at: Timestamp
    secret_hash: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `text` is shown once and kept nowhere."""

    text: str
    key: ApiKey


class ApiKeys:
    """Finds whose a key is; creates, lists and revokes keys for a tenant's administrators."""

    def __init__(
        self,
        store: Credentials,
        directory: Directory,
        trail: AuditWriter,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._directory, self._trail = store, directory, trail
        self._known: TtlCache[Principal | None] = TtlCache(ttl=KNOWN_SECONDS, size=_KNOWN, clock=clock)

    async def create(
        self,
        by: Principal,
        tenant_id: str,
        user_id: str,
        *,
        name: str = "",
        scopes: Sequence[str] = SCOPES,
        lifetime: timedelta = LIFETIME,
    ) -> NewKey:
        """A new key that acts as this user. Raises `Invalid`, and `Missing` when there is no such tenant."""
        by.require_over(tenant_id)
        known_id("user", user_id)
        if unknown := [scope for scope in scopes if scope not in ALL_SCOPES]:
            raise Invalid("invalid", f"There is no scope {unknown[0]!r}; there are {', '.join(ALL_SCOPES)}.")
        if await self._directory.tenant(tenant_id) is None:
            raise not_found("tenant", tenant_id)
        now = utc_now()
        key_id, secret = random_digits(12), secrets.token_urlsafe(32)
        key = ApiKey(
            key_id=key_id,
            user_id=user_id,
            name=name,
            scopes=tuple(scopes),
            created_at=now,
            expires_at=now + lifetime,
            secret_hash=_hash(secret),
        )
        await self._store.put(tenant_id, KIND, key_id, key.model_dump_json().encode(), expires=key.expires_at)
        about = {"user_id": user_id, "subject": key_id}
        # Not its name, which its user chose and may want to be forgotten.
        details = {"scopes": list(scopes), "expires_at": key.expires_at.isoformat()}
        await self._trail.write(by, Action.KEY_MADE, tenant_id=tenant_id, **about, details=details)
        return NewKey(f"{PREFIX}{tenant_id}.{key_id}.{secret}", key)

    async def list(self, by: Principal, tenant_id: str) -> list[ApiKey]:
        """The tenant's keys."""
        by.require_over(tenant_id)
        return _keys(tenant_id, await self._store.list(tenant_id, KIND))

    async def revoke(self, by: Principal, tenant_id: str, key_id: str) -> None:
        """Ends a key. Gateways notice within `KNOWN_SECONDS`. Raises `Missing` when there is none."""
        by.require_over(tenant_id)
        body = await self._store.take(tenant_id, KIND, key_id)
        if body is None:
            raise Missing("key_not_found", f"The tenant {tenant_id!r} has no key {key_id[:128]!r}.")
        whose = next((key.user_id for key in _keys(tenant_id, [(key_id, body)])), None)
        await self._trail.write(by, Action.KEY_REVOKED, tenant_id=tenant_id, user_id=whose, subject=key_id)

    async def find(self, text: str) -> Principal | None:
        """Whom a key belongs to; None for one that is wrong, revoked or expired."""
        principal = await self._known.get(_hash(text), lambda: self._look(text))
        if principal is None or (principal.expires and principal.expires <= utc_now()):
            return None
        return replace(principal, again=lambda: self.find(text))

    async def _look(self, text: str) -> Principal | None:
        parts = text.removeprefix(PREFIX).split(".")
        if len(parts) != 3 or not is_tenant_id(parts[0]) or not is_id(parts[1]):
            return None
        tenant_id, key_id, secret = parts
        body = await self._store.get(tenant_id, KIND, key_id)
        if body is None:
            return None
        found = _keys(tenant_id, [(key_id, body)])
        return self._principal(tenant_id, found[0], secret) if found else None

    @staticmethod
    def _principal(tenant_id: str, key: ApiKey, secret: str) -> Principal | None:
        if not hmac.compare_digest(key.secret_hash, _hash(secret)):
            return None
        return Principal(
            tenant_id,
            key.user_id,
            frozenset(key.scopes) & frozenset(ALL_SCOPES),
            "key",
            key.key_id,
            key.expires_at,
            issued=key.created_at,
        )


def _keys(tenant_id: str, rows: Sequence[tuple[str, bytes]]) -> list[ApiKey]:
    """The keys of the rows that can be read. An unreadable row is left out; its secret matches nothing."""
    return list(
        readable(rows, lambda row: ApiKey.model_validate_json(row[1]), lambda row: f"the key {row[0]} of {tenant_id}")
    )


def _hash(secret: str) -> str:
    # No slow hash: the secret has 256 random bits, which cannot be guessed from their SHA-256.
    return hashlib.sha256(secret.encode()).hexdigest()
