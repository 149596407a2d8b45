"""Sign-ins at a provider that have begun. The browser keeps everything about its own, sealed: who begins one stores nothing."""

from __future__ import annotations

import secrets
from datetime import timedelta

from pydantic import BaseModel, ValidationError

from core.installation_keys import InstallationKeys
from core.refusals import Forbidden

LIFETIME = timedelta(minutes=10)
"""How long signing in at the provider may take."""


class LoginAttempt(BaseModel):
    """A sign-in that has begun, for one provider of one tenant."""

    tenant_id: str
    provider: str
    state: str
    """Comes back in the address (RFC 6749, section 10.12): who finishes a sign-in must be the browser that began it."""
    verifier: str
    """Proves to the provider that its code is used by whom it was made for (RFC 7636)."""
    nonce: str
    """Comes back in the identity token."""

    @classmethod
    def new(cls, tenant_id: str, provider: str) -> LoginAttempt:
        """An attempt with fresh secrets."""
        return cls(
            tenant_id=tenant_id,
            provider=provider,
            state=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            nonce=secrets.token_urlsafe(16),
        )


class LoginAttempts:
    """Seals attempts for the browsers that began them, and opens them again."""

    def __init__(self, keys: InstallationKeys) -> None:
        self._keys = keys

    async def seal(self, attempt: LoginAttempt) -> str:
        """The value of a cookie."""
        return await self._keys.seal(attempt.model_dump_json().encode())

    async def open(self, tenant_id: str, provider: str, state: str, sealed: str | None) -> LoginAttempt:
        """The attempt of this state at this provider. Raises `Forbidden` where it was not begun in this browser."""
        body = await self._keys.open(sealed, lifetime=LIFETIME) if sealed else None
        try:
            attempt = LoginAttempt.model_validate_json(body) if body else None
        except ValidationError:  # another version has sealed it
            attempt = None
        if (
            attempt is None
            or (attempt.tenant_id, attempt.provider) != (tenant_id, provider)
            or not secrets.compare_digest(attempt.state.encode(), state.encode())
        ):
            raise Forbidden(
                "login_unknown", "This sign-in was not started in this browser, or it took too long. Start it again."
            )
        return attempt
