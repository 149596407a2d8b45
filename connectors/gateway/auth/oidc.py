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

from core.identity_providers import IdentityProviders
from core.principal import Principal
from schemas import IdentityProvider, Unavailable, storable_error
from schemas.common.recent import Backoff
from schemas.common.secure_urls import is_secure_url

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
OF_IDENTITY_TOKENS = ("nonce", "at_hash", "c_hash", "s_hash")
"""Claims that only identity tokens have (OpenID Connect Core 1.0, sections 2 and 3.3.2.11)."""
ACCESS_TOKEN_TYPES = ("at+jwt", "application/at+jwt")
"""RFC 9068, section 2.1. Many providers still write `JWT` or nothing."""


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
                found = await read_json(self._client, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
                if found.get("issuer") != self._issuer:
                    raise ValueError(f"it says that it is {str(found.get('issuer'))[:200]!r}")
                keys = _keys(await read_json(self._client, found["jwks_uri"]))
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

    async def user_info(self, url: object, access_token: str) -> Mapping[str, Any]:
        """The provider's page about the user of an access token; empty where it does not answer with one."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await read_json(self._client, url, {"authorization": f"Bearer {access_token}"})
        except Exception as error:  # whatever a provider sends
            log.warning("the page of a provider about its user was not read: %s", storable_error(error))
            return {}

    def _of(self, issuer: str) -> Issuer:
        if issuer not in self._issuers:
            self._issuers[issuer] = Issuer(issuer, self._client, self._clock)
        return self._issuers[issuer]


class OidcTokens:
    """Finds the tenant that trusts an access token's issuer for its audience, and checks the token. An identity token proves a
    sign-in to the client that asked for it: it counts there (`check_identity`), never as a credential of a request."""

    def __init__(self, providers: IdentityProviders, issuers: Issuers) -> None:
        self._providers, self._issuers = providers, issuers

    async def find(self, token: str) -> Principal | None:
        """Whom an access token belongs to; None when it is not valid here. Raises `Forbidden` where nobody admitted them."""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except Exception:  # whatever a stranger sends
            return None
        if _is_identity_token(claims):
            log.info("an identity token of %r was refused: requests need an access token", claims.get("iss"))
            return None
        audiences = claims.get("aud")
        found = await self._providers.trusting(
            claims.get("iss"), audiences if isinstance(audiences, list) else [audiences]
        )
        if found is None:
            return None
        tenant_id, provider = found
        checked = await self.check(token, provider, provider.audience or "")
        if checked is None:
            return None
        who = await self._providers.admit(tenant_id, provider, checked, kind="token")
        return replace(who, again=lambda: self.find(token))

    async def check_identity(self, token: object, provider: IdentityProvider) -> Mapping[str, Any] | None:
        """The claims of an identity token for our client (OpenID Connect Core 1.0, section 3.1.3.7, but for the nonce); None when
        it is not valid."""
        if not isinstance(token, str):
            return None
        claims = await self.check(token, provider, provider.client_id)
        if claims is None or str(jwt.get_unverified_header(token).get("typ")).lower() in ACCESS_TOKEN_TYPES:
            return None
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and "azp" not in claims:
            return None
        return claims if claims.get("azp", provider.client_id) == provider.client_id else None

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


async def read_json(client: httpx.AsyncClient, url: object, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON object at an address. Raises `ValueError` for anything else, and what httpx raises."""
    body = bytearray()
    async with client.stream("GET", secure(url), headers=headers) as answer:
        answer.raise_for_status()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > MAX_BYTES:
                raise ValueError(f"it sends more than {MAX_BYTES:,} bytes")
    found = json.loads(bytes(body))
    if not isinstance(found, dict):
        raise ValueError("it sends JSON that is not an object")
    return found


def secure(url: object) -> str:
    """An address of a provider. Raises `Unavailable` for one where others could read or change what is sent."""
    if not is_secure_url(url):
        raise Unavailable(f"the address {str(url)[:200]!r} does not begin with https://, and is not on this machine")
    return str(url)


def _is_identity_token(claims: Mapping[str, Any]) -> bool:
    """Whether it is one by its claims; Keycloak writes `typ` among them."""
    return any(name in claims for name in OF_IDENTITY_TOKENS) or str(claims.get("typ")).lower() == "id"


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
