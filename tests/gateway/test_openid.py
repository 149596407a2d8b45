"""Users who come from an OpenID provider: a real, certified one that the tests start (npm oidc-provider)."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from door import Door, until_true

from core.identities import user_of_identity


@dataclass
class Provider:
    issuer: str
    secret: str
    tenant: str

    def user(self, subject: str) -> str:
        """The user that this provider's subject is."""
        return user_of_identity(self.issuer, "sub", subject)

    def token(self) -> str:
        """An access token of a program."""
        told = httpx.post(
            f"{self.issuer}/token",
            data={"grant_type": "client_credentials", "scope": "api"},
            auth=("robot", self.secret),
            trust_env=False,
            timeout=120,
        )
        assert told.status_code == 200, told.text
        return str(told.json()["access_token"])


@pytest.fixture(scope="module")
def provider(door: Door, javascript: Path) -> Iterator[Provider]:
    """A provider that a tenant trusts; its access tokens live six seconds."""
    tenant, secret, node = door.tenant(), secrets.token_hex(8), shutil.which("node")
    assert node
    process = subprocess.Popen(
        [node, "oidc_provider.mjs", f"{door.url}/auth/{tenant}/test/callback"],
        cwd=javascript,
        env={**os.environ, "OIDC_SECRET": secret, "OIDC_TTL": "6", "NODE_NO_WARNINGS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        issuer = process.stdout.readline().strip()
        settings = ("--issuer", issuer, "--client-id", "cauce", "--audience", "urn:cauce:api")
        admits = ("--allow-claim", "client_id=robot", "--allow-domain", "example.org")
        door.told("tenant", "login", "add", tenant, "test", *settings, *admits)
        assert issuer in door.told("tenant", "login", "list", tenant)
        yield Provider(issuer, secret, tenant)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe
            pipe.close()


async def test_access_token_signs_a_program_in_until_it_expires(door: Door, provider: Provider) -> None:
    async with httpx.AsyncClient(base_url=door.url, trust_env=False, timeout=120) as client:

        async def a_known_token() -> str | None:  # gateways look for new providers every few seconds
            fresh = provider.token()
            told = await client.get("/v1/me", headers={"authorization": f"Bearer {fresh}"})
            return fresh if told.status_code == 200 else None

        token = str(await until_true(a_known_token))
        headers = {"authorization": f"Bearer {token}"}
        me = (await client.get("/v1/me", headers=headers)).json()
        assert (me["tenant_id"], me["user_id"], me["credential"]) == (provider.tenant, provider.user("robot"), "token")

        head, body, signature = token.split(".")
        forged = f"{head}.{body}.{signature[:-4]}{'AAAA' if signature[-4:] != 'AAAA' else 'BBBB'}"
        none = f"eyJhbGciOiJub25lIn0.{body}."
        for wrong in (forged, none, f"{head}.{body}.", "a.b.c"):
            assert (await client.get("/v1/me", headers={"authorization": f"Bearer {wrong}"})).status_code == 401

        async def expired() -> bool:
            return (await client.get("/v1/me", headers=headers)).status_code == 401

        await until_true(expired, 120)  # ten seconds of leeway for clocks that differ


async def test_browser_signs_in_acts_and_logs_out(door: Door, provider: Provider) -> None:
    async with httpx.AsyncClient(base_url=door.url, trust_env=False, timeout=120) as browser:
        arrived = await _sign_in(browser, f"{door.url}/auth/{provider.tenant}/test/login")
        assert arrived.status_code == 303, arrived.text
        cookie = next(c for c in arrived.headers.get_list("set-cookie") if c.startswith("cauce_session="))
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        me = (await browser.get("/v1/me")).json()
        assert (me["tenant_id"], me["user_id"], me["credential"]) == (
            provider.tenant,
            provider.user("maria"),
            "session",
        )

        plain = await browser.post("/v1/threads", json={})
        assert (plain.status_code, plain.json()["code"]) == (403, "cross_site")
        own = {"x-cauce-request": "1"}
        foreign = await browser.post("/v1/threads", json={}, headers={**own, "origin": "http://elsewhere.example"})
        assert foreign.status_code == 403
        foreign = await browser.post("/v1/threads", json={}, headers={**own, "sec-fetch-site": "cross-site"})
        assert foreign.status_code == 403
        assert (await browser.post("/v1/threads", json={}, headers=own)).status_code == 201

        out = (await browser.post("/auth/logout", headers=own)).json()
        assert out["provider_logout"].startswith(provider.issuer)
        value = cookie.partition("=")[2].partition(";")[0]
        again = await browser.get("/v1/me", headers={"cookie": f"cauce_session={value}"})
        assert again.status_code == 401


async def test_login_that_was_begun_elsewhere_is_refused(door: Door, provider: Provider) -> None:
    async with httpx.AsyncClient(base_url=door.url, trust_env=False, timeout=120) as browser:
        begun = await browser.get(f"/auth/{provider.tenant}/test/login")
        state = httpx.URL(begun.headers["location"]).params["state"]
        callback = f"/auth/{provider.tenant}/test/callback?code=x&state="
        async with httpx.AsyncClient(base_url=door.url, trust_env=False, timeout=120) as other:
            assert (await other.get(callback + state)).json()["code"] == "login_unknown"
        assert (await browser.get(callback + "made-up")).json()["code"] == "login_unknown"
        assert (await browser.get("/auth/nobody/test/login")).status_code == 404
        assert (await browser.get(f"/auth/{provider.tenant}/other/login")).status_code == 404


async def test_link_signs_a_browser_of_this_machine_in_once(embedded: Door) -> None:
    link = embedded.told("login").strip()
    async with httpx.AsyncClient(trust_env=False, timeout=120) as browser:
        asked = await browser.get(link)
        assert "Sign in" in asked.text
        secret = httpx.URL(link).params["link"]
        body = {"link": secret}
        done = await browser.post(urljoin(link, "/login"), data=body)
        assert done.status_code == 303
        me = (await browser.get(f"{embedded.url}/v1/me")).json()
        assert (me["user_id"], me["credential"]) == ("owner", "session")
        assert (await browser.post(urljoin(link, "/login"), data=body)).json()["code"] == "link_used"


async def _sign_in(browser: httpx.AsyncClient, url: str) -> httpx.Response:
    """Follows redirects and fills the provider's two forms in, until our own callback has answered."""
    response = await browser.get(url)
    for _ in range(12):
        if "/callback" in str(response.url):
            return response
        if response.is_redirect:
            response = await browser.get(urljoin(str(response.url), response.headers["location"]))
            continue
        action = re.search(r'<form[^>]*action="([^"]+)"', response.text)
        prompt = re.search(r'name="prompt" value="([^"]+)"', response.text)
        assert action
        assert prompt, response.text
        fields = {"prompt": prompt[1], "login": "maria", "password": "any"}
        response = await browser.post(urljoin(str(response.url), action[1]), data=fields)
    raise AssertionError("the login has no end")
