"""Access and identity tokens of a tenant's OpenID provider: found out about, checked, and turned into a principal."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt

from core.identity_providers import IdentityProviders, vouched_for
from core.principal import Principal
from schemas import IdentityProvider, Unavailable

log = logging.getLogger("cauce.gateway")

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
"""Signatures with a public key only: a token signed with a shared secret, or not at all, is never taken."""
LEEWAY_SECONDS = 10
METADATA_SECONDS = 600.0
KEYS_AGAIN_SECONDS = 10.0
"""A key that is not known makes us look again, this often at most."""


@dataclass
class _Issuer:
    metadata: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str | None, Any] = field(default_factory=dict)
    looked: float = float("-inf")


class Issuers:
    """Caches the metadata and the keys of providers."""

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        self._client = client or httpx.AsyncClient(timeout=5, follow_redirects=False)
        self._known: dict[str, _Issuer] = {}
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        """Closes connections."""
        await self._client.aclose()

    async def metadata(self, issuer: str) -> Mapping[str, Any]:
        """The provider's configuration (OpenID Connect Discovery 1.0). Raises `Unavailable`."""
        return (await self._issuer(issuer, METADATA_SECONDS)).metadata

    async def key(self, issuer: str, key_id: str | None) -> Any | None:
        """The provider's public key of this id."""
        known = await self._issuer(issuer, METADATA_SECONDS)
        if key_id not in known.keys:
            known = await self._issuer(issuer, KEYS_AGAIN_SECONDS)
        return known.keys.get(key_id)

    async def _issuer(self, issuer: str, fresh: float) -> _Issuer:
        async with self._lock:
            known = self._known.setdefault(issuer, _Issuer())
            if time.monotonic() - known.looked > fresh:
                try:
                    found = await self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
                    if found.get("issuer") != issuer:
                        raise Unavailable(f"the provider at {issuer} says that it is {found.get('issuer')!r}")
                    keys = await self._get(found["jwks_uri"])
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    if known.keys:
                        log.warning("the provider %s does not answer (%r); its old keys hold", issuer, error)
                        known.looked = time.monotonic() - fresh + KEYS_AGAIN_SECONDS
                        return known
                    raise Unavailable(f"the provider {issuer} does not answer: {error}") from error
                known.metadata, known.keys, known.looked = found, _keys(keys), time.monotonic()
            return known

    async def _get(self, url: str) -> Mapping[str, Any]:
        answer = await self._client.get(url)
        answer.raise_for_status()
        found = answer.json()
        if not isinstance(found, dict):
            raise ValueError("not an object")
        return found


class OidcTokens:
    """Finds the tenant that trusts a token's issuer for its audience, and checks the token."""

    def __init__(self, providers: IdentityProviders, issuers: Issuers) -> None:
        self._providers, self._issuers = providers, issuers

    async def find(self, token: str) -> Principal | None:
        """Whom an access token belongs to; None when it is not valid here."""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return None
        audiences = claims.get("aud")
        found = await self._providers.trusting(
            claims.get("iss"), audiences if isinstance(audiences, list) else [audiences]
        )
        if found is None:
            return None
        tenant_id, provider = found
        checked = await self.check(token, provider, provider.audience or provider.client_id)
        return None if checked is None else vouched_for(tenant_id, provider, checked, kind="token")

    async def check(self, token: str, provider: IdentityProvider, audience: str) -> Mapping[str, Any] | None:
        """The claims of a token that this provider signed for this audience and that has not expired."""
        try:
            header = jwt.get_unverified_header(token)
            key = await self._issuers.key(provider.issuer, header.get("kid"))
            if key is None or header.get("alg") not in ALGORITHMS:
                return None
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=list(ALGORITHMS),
                audience=audience,
                issuer=provider.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            log.info("a token of %s was refused: %s", provider.issuer, error)
            return None
        return claims


def _keys(found: Mapping[str, Any]) -> dict[str | None, Any]:
    """Keys for signatures by id; those that we cannot use are left out."""
    keys: dict[str | None, Any] = {}
    for one in found.get("keys", []):
        if one.get("use", "sig") == "sig" and one.get("kty") in ("RSA", "EC", "OKP"):
            try:
                keys[one.get("kid")] = jwt.PyJWK(one)
            except jwt.PyJWTError as error:
                log.info("a key of a provider cannot be used: %s", error)
    return keys
