"""Identity providers that do not answer, or answer nonsense: they delay and refuse their own tenant's users, and nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from connectors.gateway.auth import oidc
from connectors.gateway.auth.oidc import Issuers, OidcTokens
from connectors.gateway.auth.oidc_login import OidcLogin
from core.principal import OPERATOR
from core.refusals import Forbidden
from core.store_core import StoreCore
from schemas import IdentityProvider, Unavailable
from state import open_stores

Answers = Callable[[str], bytes | None]

SIGNING = rsa.generate_private_key(65537, 2048)


class Server:
    """A provider. `answers` gives the body for a path, None for no answer, ever."""

    def __init__(self, issuer: str) -> None:
        self.issuer, self.answers, self.asked = issuer, self.keys, [0]
        self.came, self.gone = asyncio.Event(), asyncio.Event()

    def keys(self, path: str) -> bytes | None:
        """As a provider that works."""
        if path.endswith("/openid-configuration"):
            return json.dumps({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}).encode()
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(SIGNING.public_key()))
        return json.dumps({"keys": [{**key, "kid": "k1", "use": "sig"}]}).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers each request of a connection."""
        try:
            while line := await reader.readline():
                while (await reader.readline()).strip():
                    pass
                self.asked[0] += 1
                self.came.set()
                body = self.answers(line.split()[1].decode())
                if body is None:
                    await self.gone.wait()
                    break
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def provider() -> AsyncIterator[Server]:
    found: list[Server] = []
    listening = await asyncio.start_server(lambda r, w: found[0].serve(r, w), "127.0.0.1", 0)
    found.append(Server(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"))
    try:
        yield found[0]
    finally:
        found[0].gone.set()
        listening.close()


@pytest.fixture
async def good() -> AsyncIterator[Server]:
    async with provider() as server:
        yield server


@pytest.fixture
async def dead() -> AsyncIterator[Server]:
    async with provider() as server:
        server.answers = lambda path: None
        yield server


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def issuers(clock: Clock) -> AsyncIterator[Issuers]:
    # No time limit of its own: what ends a wait in these tests is said by the test.
    made = Issuers(httpx.AsyncClient(timeout=None, trust_env=False), clock)
    yield made
    await made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def token(server: Server, *, kid: str = "k1", **claims: Any) -> str:
    about = {"iss": server.issuer, "aud": "app", "sub": "ana", "exp": 4_000_000_000, **claims}
    return jwt.encode(about, SIGNING, algorithm="RS256", headers={"kid": kid})


async def signed_in(issuers: Issuers, server: Server, given: str) -> Any:
    trusted = IdentityProvider(name="p", issuer=server.issuer, client_id="app", audience="app")
    return await OidcTokens(None, issuers).check(given, trusted, "app")  # type: ignore[arg-type]


async def test_good_tokens_are_checked_while_a_provider_of_others_does_not_answer(
    issuers: Issuers, good: Server, dead: Server
) -> None:
    waiting = [asyncio.create_task(issuers.metadata(dead.issuer)) for _ in range(6)]
    await asyncio.wait_for(dead.came.wait(), 120)
    assert (await asyncio.wait_for(signed_in(issuers, good, token(good)), 120))["sub"] == "ana"
    assert not any(one.done() for one in waiting)
    assert dead.asked == [1], "those who wait for a provider share one request"
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_provider_that_failed_is_not_asked_again_for_a_while(
    issuers: Issuers, good: Server, clock: Clock
) -> None:
    good.answers = lambda path: b"not JSON"
    for _ in range(3):
        with pytest.raises(Unavailable, match="does not answer as OpenID Connect"):
            await issuers.metadata(good.issuer)
    assert good.asked == [1]
    clock.now += oidc.BACKOFF[0]
    with pytest.raises(Unavailable):
        await issuers.metadata(good.issuer)
    assert good.asked == [2]
    clock.now += oidc.BACKOFF[0]
    with pytest.raises(Unavailable):
        await issuers.metadata(good.issuer)
    assert good.asked == [2], "the pause grows"
    good.answers = good.keys
    clock.now += oidc.BACKOFF[1]
    assert (await issuers.metadata(good.issuer))["issuer"] == good.issuer


async def test_old_keys_hold_and_nobody_waits_while_they_are_read_again(
    issuers: Issuers, good: Server, clock: Clock
) -> None:
    assert await signed_in(issuers, good, token(good))
    good.answers = lambda path: None
    clock.now += oidc.METADATA_SECONDS + 1
    good.came.clear()
    for _ in range(3):
        assert await asyncio.wait_for(signed_in(issuers, good, token(good)), 120)
    await asyncio.wait_for(good.came.wait(), 120)
    assert good.asked == [3]


async def test_key_that_is_not_known_is_looked_for_once_in_a_while(
    issuers: Issuers, good: Server, clock: Clock
) -> None:
    assert await signed_in(issuers, good, token(good))
    for kid in ("k2", "k3"):
        assert await signed_in(issuers, good, token(good, kid=kid)) is None
    assert good.asked == [2]
    clock.now += oidc.KEYS_AGAIN_SECONDS + 1
    for kid in ("k4", "k5"):
        assert await signed_in(issuers, good, token(good, kid=kid)) is None
    assert good.asked == [4]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"issuer": "http://127.0.0.1/other"}',
        b"[" * 200_000,
        b'{"issuer": "ISSUER", "jwks_uri": "http://["}',
        b'{"issuer": "ISSUER", "jwks_uri": 7}',
        b'{"issuer": "ISSUER", "jwks_uri": "ISSUER/k", "keys": 7}',
        b'{"issuer": "ISSUER", "jwks_uri": "ISSUER/k", "keys": "seven"}',
        b'{"issuer": "ISSUER", "x": "' + b"x" * (1 << 20) + b'"}',
    ],
)
async def test_whatever_a_provider_answers_is_unavailable_or_has_no_keys(
    issuers: Issuers, good: Server, body: bytes
) -> None:
    good.answers = lambda path: body.replace(b"ISSUER", good.issuer.encode())
    try:
        assert await signed_in(issuers, good, token(good)) is None
    except Unavailable:
        assert good.asked[0] <= 2


async def test_token_that_does_not_fit_its_key_is_refused(issuers: Issuers, good: Server, tmp_path: Path) -> None:
    stores = open_stores(f"sqlite:///{tmp_path / 'state.db'}")
    await stores.open()
    await stores.migrate()
    nobody = OidcTokens(StoreCore(stores).providers, issuers)
    about = {"iss": good.issuer, "aud": "app", "sub": "ana", "exp": 4_000_000_000}
    other = jwt.encode(about, generate_private_key(SECP256R1()), algorithm="ES256", headers={"kid": "k1"})
    for given in (
        other,
        token(good, exp=10**400),
        token(good, exp=10**15),
        token(good, sub="\ud800"),
        token(good, name="\ud800"),
        token(good, aud={"app": 1}),
        token(good)[:-3],
        "a.b.c",
        "",
        ".",
    ):
        assert await signed_in(issuers, good, given) is None
        assert await nobody.find(given) is None
    await stores.close()


@pytest.mark.parametrize("reached", [None, b"", b"[]", b"{", b'{"id_token": 7}', b'{"id_token": "a.b.c"}', b"\xff"])
async def test_provider_that_breaks_off_in_the_middle_of_a_sign_in_is_no_failure_of_the_gateway(
    issuers: Issuers, good: Server, tmp_path: Path, reached: bytes | None
) -> None:
    asked = list[str]()

    def answers(path: str) -> bytes | None:
        asked.append(path)
        if path == "/token" and reached is None:
            raise ConnectionResetError
        found = {**json.loads(good.keys(path) or b""), "authorization_endpoint": f"{good.issuer}/in"}
        whole = json.dumps({**found, "token_endpoint": f"{good.issuer}/token"}).encode()
        return reached if path == "/token" else whole

    good.answers = answers
    stores = open_stores(f"sqlite:///{tmp_path / 'state.db'}")
    await stores.open()
    await stores.migrate()
    core = StoreCore(stores)
    await core.tenants.add(OPERATOR, "acme")
    trusted = IdentityProvider(name="p", issuer=good.issuer, client_id="app", allow_claims=(f"iss={good.issuer}",))
    await core.tenants.put_provider(OPERATOR, "acme", trusted)
    tokens = OidcTokens(core.providers, issuers)
    login = OidcLogin(core.providers, core.sessions, core.login_attempts, issuers, tokens)
    address, sealed = await login.begin("acme", "p", "http://127.0.0.1/callback")
    (state,) = parse_qs(urlsplit(address).query)["state"]
    with pytest.raises((Unavailable, Forbidden)):
        await login.finish("acme", "p", "http://127.0.0.1/callback", state=state, code="c", sealed=sealed)
    assert "/token" in asked
    await stores.close()
