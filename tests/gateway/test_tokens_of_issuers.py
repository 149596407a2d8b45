"""Which tokens of an OpenID provider count where; the issuer answers over a socket of its own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from connectors.gateway.auth.oidc import Issuers, OidcTokens
from core.principal import OPERATOR
from core.store_core import StoreCore
from schemas import IdentityProvider, Unavailable
from state import open_stores


class Issuer:
    """Signs whatever it is asked to."""

    def __init__(self) -> None:
        self.keys = {"rsa": rsa.generate_private_key(65537, 2048), "ec": ec.generate_private_key(ec.SECP256R1())}
        self.algorithms = {"rsa": "RS256", "ec": "ES256"}
        self.metadata: dict[str, Any] = {}
        issuer = self

        class Pages(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = issuer.jwks() if self.path == "/keys" else issuer.metadata
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(page).encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.metadata = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def jwks(self) -> Any:
        made = {"rsa": jwt.algorithms.RSAAlgorithm, "ec": jwt.algorithms.ECAlgorithm}
        keys = [{**json.loads(made[kid].to_jwk(key.public_key())), "kid": kid} for kid, key in self.keys.items()]
        return {"keys": keys}

    def token(self, kid: str = "rsa", typ: str = "JWT", algorithm: str | None = None, **given: Any) -> str:
        claims = {"iss": self.url, "sub": "ana", "aud": "api", "exp": int(time.time()) + 60, **given}
        signer = kid if algorithm is None else {"RS256": "rsa", "ES256": "ec"}[algorithm]
        headers = {"kid": kid, "typ": typ}
        return jwt.encode(claims, self.keys[signer], algorithm=self.algorithms[signer], headers=headers)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
async def trusting(tmp_path: Path, issuer: Issuer) -> AsyncIterator[tuple[OidcTokens, IdentityProvider, StoreCore]]:
    """The tokens of a tenant that admits everybody of the issuer."""
    stores = open_stores(f"sqlite://{tmp_path / 'state'}")
    await stores.open()
    await stores.migrate()
    core = StoreCore(stores)
    await core.tenants.add(OPERATOR, "acme")
    provider = IdentityProvider(
        name="corp", issuer=issuer.url, client_id="cauce", audience="api", allow_claims=(f"iss={issuer.url}",)
    )
    await core.tenants.put_provider(OPERATOR, "acme", provider)
    issuers = Issuers()
    yield OidcTokens(core.providers, issuers), provider, core
    await issuers.close()
    await stores.close()


Trusting = tuple[OidcTokens, IdentityProvider, StoreCore]


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        ({}, True),
        ({"aud": ["api", "other"]}, True),
        ({"typ": "at+jwt", "azp": "another client"}, True),
        ({"kid": "ec"}, True),
        ({"aud": "cauce"}, False),
        ({"aud": ["cauce", "other"]}, False),
        ({"nonce": "n"}, False),
        ({"at_hash": "h"}, False),
        ({"exp": 1}, False),
        ({"sub": None}, False),
        ({"kid": "rsa", "algorithm": "ES256"}, False),
        ({"kid": "ec", "algorithm": "RS256"}, False),
        ({"kid": "none"}, False),
    ],
)
async def test_an_access_token_needs_its_own_audience_and_is_no_identity_token(
    trusting: Trusting, issuer: Issuer, given: dict[str, Any], accepted: bool
) -> None:
    if given.get("kid") == "none":
        token = issuer.token().replace(issuer.token().partition(".")[0], "eyJhbGciOiJSUzI1NiIsImtpZCI6Im5vbmUifQ", 1)
    else:
        token = issuer.token(**given)
    found = await trusting[0].find(token)
    assert (found is not None) is accepted
    if found:
        assert found.user_id.startswith("ana_")


async def test_keycloaks_identity_token_is_refused_by_its_claim(trusting: Trusting, issuer: Issuer) -> None:
    claims = {"iss": issuer.url, "sub": "ana", "aud": "api", "exp": int(time.time()) + 60, "typ": "ID"}
    token = jwt.encode(claims, issuer.keys["rsa"], algorithm="RS256", headers={"kid": "rsa"})  # type: ignore[arg-type]
    assert await trusting[0].find(token) is None


@pytest.mark.parametrize("stored", [None, "cauce"])
async def test_without_an_audience_of_its_own_no_token_of_an_issuer_is_accepted(
    trusting: Trusting, issuer: Issuer, stored: str | None
) -> None:
    tokens, provider, core = trusting
    tenant = await core.tenants.get(OPERATOR, "acme")
    older = provider.model_copy(update={"audience": stored})  # as an older version stored it
    changed = tenant.model_copy(update={"identity_providers": (older,), "version": tenant.version + 1})
    await core.tenants._directory.put_tenant(changed, expected_version=tenant.version)
    for audience in ("cauce", "api"):
        assert await tokens.find(issuer.token(aud=audience)) is None
    assert await tokens.check_identity(issuer.token(aud="cauce"), older) is not None


@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        ({"aud": "cauce", "nonce": "n"}, True),
        ({"aud": ["cauce"]}, True),
        ({"aud": ["cauce", "other"], "azp": "cauce"}, True),
        ({"aud": ["cauce", "other"]}, False),
        ({"aud": "cauce", "azp": "other"}, False),
        ({"aud": "api"}, False),
        ({"aud": "cauce", "typ": "at+jwt"}, False),
    ],
)
async def test_the_callback_takes_identity_tokens_for_its_own_client(
    trusting: Trusting, issuer: Issuer, given: dict[str, Any], accepted: bool
) -> None:
    tokens, provider, _ = trusting
    assert (await tokens.check_identity(issuer.token(**given), provider) is not None) is accepted


async def test_keys_are_never_fetched_over_a_connection_that_others_can_change(
    trusting: Trusting, issuer: Issuer
) -> None:
    tokens, provider, _ = trusting
    before = issuer.metadata
    issuer.metadata = {**before, "jwks_uri": "http://keys.example/keys"}
    try:
        with pytest.raises(Unavailable, match="https://"):
            await tokens.check(issuer.token(), provider, "api")
    finally:
        issuer.metadata = before
    elsewhere = provider.model_copy(update={"issuer": "http://login.example"})
    with pytest.raises(Unavailable, match="https://"):
        await tokens.check(issuer.token(), elsewhere, "api")
