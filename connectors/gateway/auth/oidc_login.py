"""Browser login: OpenID Connect authorization code flow with PKCE (RFC 7636), by Authlib."""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from urllib.parse import urlencode

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from pydantic import BaseModel

from connectors.gateway.auth.oidc import Issuers, OidcTokens, principal
from connectors.gateway.auth.sessions import Sessions
from core.errors import Forbidden, not_found
from schemas import IdentityProvider, Unavailable
from schemas.clock import utc_now
from state import Credentials, Directory, readable

KIND = "oidc_state"
LIFETIME = timedelta(minutes=10)


class _Attempt(BaseModel):
    """A login that has begun; its id is the `state`, taken once."""

    provider: str
    verifier: str
    nonce: str
    browser: str
    """Also in a cookie: who finishes a login must be who began it."""


class OidcLogin:
    """Sends browsers to their tenant's provider and takes them back."""

    def __init__(
        self,
        directory: Directory,
        credentials: Credentials,
        sessions: Sessions,
        issuers: Issuers,
        tokens: OidcTokens,
    ) -> None:
        self._directory, self._credentials, self._sessions = directory, credentials, sessions
        self._issuers, self._tokens = issuers, tokens

    async def begin(self, tenant_id: str, name: str, callback: str) -> tuple[str, str]:
        """Where to send the browser, and the value of a cookie that it has to bring back."""
        provider = await self._provider(tenant_id, name)
        attempt = _Attempt(
            provider=name,
            verifier=secrets.token_urlsafe(48),
            nonce=secrets.token_urlsafe(16),
            browser=secrets.token_urlsafe(16),
        )
        state = secrets.token_urlsafe(24)
        metadata = await self._issuers.metadata(provider.issuer)
        async with self._client(provider, callback) as client:
            url, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
            )
        body = attempt.model_dump_json().encode()
        await self._credentials.put(tenant_id, KIND, state, body, expires=utc_now() + LIFETIME)
        return url, attempt.browser

    async def finish(
        self, tenant_id: str, name: str, callback: str, *, state: str, code: str, browser: str | None
    ) -> str:
        """Begins the session of whom the provider says that it is; the cookie's value. Raises `Refused`."""
        body = await self._credentials.take(tenant_id, KIND, state)
        name_of = f"a login of {tenant_id} that was begun"
        attempt = next(readable([body], _Attempt.model_validate_json, lambda _: name_of), None) if body else None
        if attempt is None or attempt.provider != name or not secrets.compare_digest(attempt.browser, browser or ""):
            raise Forbidden("login_unknown", "This login was not begun in this browser, or it took too long.")
        provider = await self._provider(tenant_id, name)
        metadata = await self._issuers.metadata(provider.issuer)
        try:
            async with self._client(provider, callback) as client:
                told = await client.fetch_token(
                    metadata["token_endpoint"],
                    code=code,
                    code_verifier=attempt.verifier,
                    grant_type="authorization_code",
                )
        except AuthlibBaseError as error:
            raise Forbidden("login_refused", f"The provider refused: {error.error}.") from error
        except OSError as error:
            raise Unavailable("the provider does not answer") from error
        id_token = told.get("id_token", "")
        claims = await self._tokens.check(id_token, provider, provider.client_id)
        if claims is None or claims.get("nonce") != attempt.nonce:
            raise Forbidden("login_refused", "The provider's identity token is not valid.")
        who = principal(tenant_id, provider, claims, kind="session")
        return await self._sessions.begin(tenant_id, who.user_id, method=f"oidc:{name}", id_token=id_token)

    async def logout_url(self, tenant_id: str, method: str, id_token: str | None, back: str) -> str | None:
        """Where to log out at the provider too, where it has such a page."""
        if not method.startswith("oidc:"):
            return None
        provider = await self._provider(tenant_id, method.removeprefix("oidc:"))
        metadata = await self._issuers.metadata(provider.issuer)
        if "end_session_endpoint" not in metadata:
            return None
        query = urlencode({"id_token_hint": id_token or "", "post_logout_redirect_uri": back})
        return f"{metadata['end_session_endpoint']}?{query}"

    async def _provider(self, tenant_id: str, name: str) -> IdentityProvider:
        tenant = await self._directory.tenant(tenant_id)
        provider = next((p for p in tenant.identity_providers if p.name == name), None) if tenant else None
        if provider is None:
            raise not_found("provider", name)
        return provider

    def _client(self, provider: IdentityProvider, callback: str) -> AsyncOAuth2Client:
        secret = os.environ.get(provider.client_secret_env) if provider.client_secret_env else None
        return AsyncOAuth2Client(
            client_id=provider.client_id,
            client_secret=secret,
            scope="openid email profile",
            redirect_uri=callback,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            timeout=10,
        )
