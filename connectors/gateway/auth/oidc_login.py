"""Browser login: OpenID Connect authorization code flow with PKCE (RFC 7636), by Authlib."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from connectors.gateway.auth.oidc import READ_SECONDS, Issuers, OidcTokens, secure
from core.admission import is_admitted
from core.identity_providers import IdentityProviders
from core.login_attempts import LoginAttempt, LoginAttempts
from core.refusals import Forbidden
from core.sessions import Sessions
from schemas import IdentityProvider, Unavailable, storable_error

log = logging.getLogger("cauce.gateway")

_OF_THE_TOKEN = ("iss", "sub", "aud", "azp", "exp", "iat", "nonce")


class OidcLogin:
    """Sends browsers to their tenant's provider and takes them back."""

    def __init__(
        self,
        providers: IdentityProviders,
        sessions: Sessions,
        attempts: LoginAttempts,
        issuers: Issuers,
        tokens: OidcTokens,
    ) -> None:
        self._providers, self._sessions, self._attempts = providers, sessions, attempts
        self._issuers, self._tokens = issuers, tokens

    async def begin(self, tenant_id: str, name: str, callback: str) -> tuple[str, str]:
        """Where to send the browser, and the value of a cookie that it has to bring back."""
        provider = await self._providers.find(tenant_id, name)
        metadata = await self._issuers.metadata(provider.issuer)
        attempt = LoginAttempt.new(tenant_id, name)
        async with self._client(provider, callback) as client:
            url, _ = client.create_authorization_url(
                _address(metadata, "authorization_endpoint"),
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
            )
        return url, await self._attempts.seal(attempt)

    async def finish(
        self, tenant_id: str, name: str, callback: str, *, state: str, code: str, sealed: str | None
    ) -> str:
        """Begins the session of whom the provider says that it is; the cookie's value. Raises `Refused`."""
        attempt = await self._attempts.open(tenant_id, name, state, sealed)
        provider = await self._providers.find(tenant_id, name)
        metadata = await self._issuers.metadata(provider.issuer)
        try:
            async with asyncio.timeout(READ_SECONDS), self._client(provider, callback) as client:
                tokens = await client.fetch_token(
                    _address(metadata, "token_endpoint"),
                    code=code,
                    code_verifier=attempt.verifier,
                    grant_type="authorization_code",
                )
        except AuthlibBaseError as error:
            raise Forbidden("login_refused", f"The provider refused: {error.error}.") from error
        except Exception as error:  # httpx's, and whatever its answer leads to
            log.warning("the provider %s did not give its tokens: %s", provider.issuer, storable_error(error))
            raise Unavailable("the provider does not answer as it should; try again later") from error
        claims = await self._tokens.check_identity(tokens.get("id_token"), provider)
        if claims is None or claims.get("nonce") != attempt.nonce:
            raise Forbidden("login_refused", "The provider's identity token is not valid.")
        if not is_admitted(provider, claims) or provider.user_claim not in claims:
            # Many providers have addresses and groups on their page about the user only. An address and whether it is verified
            # must come from the same source.
            proven = {name: claims[name] for name in _OF_THE_TOKEN if name in claims}
            claims = {**claims, **await self._user_info(metadata, tokens.get("access_token"), claims["sub"]), **proven}
        who = await self._providers.admit(tenant_id, provider, claims, kind="session")
        return await self._sessions.begin(tenant_id, who.user_id, method=f"oidc:{name}", scopes=who.scopes)

    async def _user_info(self, metadata: Mapping[str, Any], access_token: object, subject: str) -> Mapping[str, Any]:
        """What the provider's page about the user has (OpenID Connect Core 1.0, section 5.3); empty where there is none."""
        if "userinfo_endpoint" not in metadata or not isinstance(access_token, str):
            return {}
        found = await self._issuers.user_info(metadata["userinfo_endpoint"], access_token)
        return found if found.get("sub") == subject else {}

    async def logout_url(self, tenant_id: str, method: str, back: str) -> str | None:
        """Where to log out at the provider too, where it has such a page. It may ask for confirmation, since identity tokens are
        kept nowhere (OpenID Connect RP-Initiated Logout 1.0, section 2)."""
        if not method.startswith("oidc:"):
            return None
        provider = await self._providers.find(tenant_id, method.removeprefix("oidc:"))
        metadata = await self._issuers.metadata(provider.issuer)
        if "end_session_endpoint" not in metadata:
            return None
        query = urlencode({"client_id": provider.client_id, "post_logout_redirect_uri": back})
        return f"{secure(metadata['end_session_endpoint'])}?{query}"

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


def _address(metadata: Mapping[str, Any], name: str) -> str:
    found = metadata.get(name)
    if not isinstance(found, str):
        raise Unavailable(f"the provider's metadata has no {name}")
    return secure(found)
