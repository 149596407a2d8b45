"""Access and identity tokens of a tenant's OpenID provider: found out about, checked, and turned into a principal."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt

from core.identity_providers import IdentityProviders, vouched_for
from core.principal import Principal
from schemas import IdentityProvider, Unavailable, storable_error
from schemas.common.recent import Backoff

log = logging.getLogger("cauce.gateway")

ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256"),
    "EC": ("ES256", "ES384"),
    "OKP": ("EdDSA",),
}
"""By type of the key. Signatures with a public key only: a token signed with a shared secret, or not at all, is never taken."""
LEEWAY_SECONDS = 10
METADATA_SECONDS = 600.0
KEYS_AGAIN_SECONDS = 10.0
"""A key that is not known makes us look again, this often at most."""
READ_SECONDS = 10.0
"""For metadata and keys together, also from a provider that sends one byte after the other."""
MAX_BYTES = 1 << 20
BACKOFF = (2.0, 120.0)
"""First and longest pause, in seconds, in which a provider that did not answer is not asked again."""


@dataclass(frozen=True, slots=True)
class _Known:
    metadata: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str | None, Any] = field(default_factory=dict)


class Issuer:
    """What is known of one provider. Reads of it are shared by all who wait, and nobody else waits for it."""

    def __init__(self, issuer: str, client: httpx.AsyncClient, clock: Callable[[], float]) -> None:
        self._issuer, self._client, self._clock = issuer, client, clock
        self._known: _Known | None = None
        self._looked = float("-inf")
        self._reading: asyncio.Task[_Known] | None = None
        self._backoff, self._not_before, self._reason = Backoff(*BACKOFF), float("-inf"), ""

    async def known(self) -> _Known:
        """Metadata and keys. Old ones are refreshed in the background. Raises `Unavailable` where there are none, immediately
        if the provider failed a moment ago."""
        if self._known is None:
            return await self._read()
        if self._clock() - self._looked > METADATA_SECONDS and self._clock() >= self._not_before:
            self._begin()
        return self._known

    async def newer(self) -> _Known:
        """As `known`, read again unless that was a moment ago: a key was missing."""
        known = await self.known()
        if self._clock() - self._looked <= KEYS_AGAIN_SECONDS or self._clock() < self._not_before:
            return known
        try:
            return await self._read()
        except Unavailable:
            return known

    def close(self) -> None:
        """Gives up what is being read."""
        if self._reading:
            self._reading.cancel()

    async def _read(self) -> _Known:
        if self._reading is None and self._clock() < self._not_before:
            raise Unavailable(self._reason)
        # It belongs to all who wait: one of them being cancelled must not end it.
        return await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[_Known]:
        if self._reading is None:
            self._reading = asyncio.create_task(self._ask(), name="read-identity-provider")
            self._reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._reading

    async def _ask(self) -> _Known:
        try:
            async with asyncio.timeout(READ_SECONDS):
                found = await self._get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
                if found.get("issuer") != self._issuer:
                    raise ValueError(f"it says that it is {str(found.get('issuer'))[:200]!r}")
                keys = _keys(await self._get(found["jwks_uri"]))
        except Exception as error:  # whatever a provider sends
            self._not_before = self._clock() + self._backoff.next()
            why = (
                f"no complete answer within {READ_SECONDS:g} s"
                if isinstance(error, TimeoutError)
                else storable_error(error)
            )
            self._reason = f"the provider {self._issuer} does not answer as OpenID Connect Discovery says: {why}"
            log.warning("%s%s", self._reason, "; its old keys hold" if self._known else "")
            raise Unavailable(self._reason) from error
        finally:
            self._reading = None
        self._known, self._looked = _Known(found, keys), self._clock()
        self._backoff, self._not_before = Backoff(*BACKOFF), float("-inf")
        return self._known

    async def _get(self, url: str) -> Mapping[str, Any]:
        body = bytearray()
        async with self._client.stream("GET", url) as answer:
            answer.raise_for_status()
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > MAX_BYTES:
                    raise ValueError(f"it sends more than {MAX_BYTES:,} bytes")
        found = json.loads(bytes(body))
        if not isinstance(found, dict):
            raise ValueError("it sends JSON that is not an object")
        return found


class Issuers:
    """Caches the metadata and the keys of providers. One that does not answer delays only who needs it."""

    def __init__(self, client: httpx.AsyncClient | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        # A dead provider must not use up a pool of connections either.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self._client = client or httpx.AsyncClient(timeout=5, follow_redirects=False, limits=limits)
        self._clock = clock
        self._issuers: dict[str, Issuer] = {}

    async def close(self) -> None:
        """Closes connections."""
        for issuer in self._issuers.values():
            issuer.close()
        await self._client.aclose()

    async def metadata(self, issuer: str) -> Mapping[str, Any]:
        """The provider's configuration (OpenID Connect Discovery 1.0). Raises `Unavailable`."""
        return (await self._of(issuer).known()).metadata

    async def key(self, issuer: str, key_id: str | None) -> Any | None:
        """The provider's public key of this id. Raises `Unavailable` where none of its keys are known."""
        known = await self._of(issuer).known()
        if key_id not in known.keys:
            known = await self._of(issuer).newer()
        return known.keys.get(key_id)

    def _of(self, issuer: str) -> Issuer:
        if issuer not in self._issuers:
            self._issuers[issuer] = Issuer(issuer, self._client, self._clock)
        return self._issuers[issuer]


class OidcTokens:
    """Finds the tenant that trusts a token's issuer for its audience, and checks the token."""

    def __init__(self, providers: IdentityProviders, issuers: Issuers) -> None:
        self._providers, self._issuers = providers, issuers

    async def find(self, token: str) -> Principal | None:
        """Whom an access token belongs to; None when it is not valid here."""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except Exception:  # whatever a stranger sends
            return None
        audiences = claims.get("aud")
        found = await self._providers.trusting(
            claims.get("iss"), audiences if isinstance(audiences, list) else [audiences]
        )
        if found is None:
            return None
        tenant_id, provider = found
        checked = await self.check(token, provider, provider.audience or provider.client_id)
        if checked is None:
            return None
        return replace(vouched_for(tenant_id, provider, checked, kind="token"), again=lambda: self.find(token))

    async def check(self, token: str, provider: IdentityProvider, audience: str) -> Mapping[str, Any] | None:
        """The claims of a token that this provider signed for this audience and that has not expired."""
        try:
            header = jwt.get_unverified_header(token)
        except Exception:  # whatever a stranger sends
            return None
        key = await self._issuers.key(provider.issuer, header.get("kid"))
        if key is None or header.get("alg") not in ALGORITHMS[key.key_type]:
            return None
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=list(ALGORITHMS[key.key_type]),
                audience=audience,
                issuer=provider.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            datetime.fromtimestamp(claims["exp"], UTC)
            json.dumps(claims, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        except Exception as error:  # a signature vouches for nothing else in it
            log.info("a token of %s was refused: %s", provider.issuer, storable_error(error))
            return None
        return claims


def _keys(found: Mapping[str, Any]) -> dict[str | None, Any]:
    """Keys for signatures by id; those that we cannot use are left out."""
    keys: dict[str | None, Any] = {}
    for one in found.get("keys", []):
        try:
            if one.get("use", "sig") == "sig" and one.get("kty") in ALGORITHMS:
                keys[one.get("kid")] = jwt.PyJWK(one)
        except Exception as error:
            log.info("a key of a provider cannot be used: %s", storable_error(error))
    return keys
