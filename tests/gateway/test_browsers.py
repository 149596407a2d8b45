"""What browsers get, and what they are kept from: headers of all answers, pages of others, cookies, the gateway's own address.

The gateway is the one of the product, on a store and a socket of its own; it never connects to a Kafka, which nothing here needs.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from connectors.gateway.app import make_app, make_core
from connectors.gateway.gateway_core import GatewayCore
from connectors.gateway.gateway_options import GatewayOptions
from connectors.gateway.settings import GatewaySettings
from connectors.graphs import Graphs
from core.principal import OPERATOR
from state import open_stores
from streams.health import Health, HealthServer
from streams.http_server import HttpLimits, make_server

SAFE = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
OWN = {"x-cauce-request": "1"}
PUBLIC = "https://cauce.example"


def browser(url: str, **headers: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=120, headers=headers)


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The address of an application behind the server of the product."""
    sock = socket.create_server(("127.0.0.1", 0))
    server = make_server(app, HttpLimits(), log_level="critical", lifespan="off")
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[GatewayCore]:
    stores = open_stores(f"sqlite://{tmp_path / 'state'}")
    await stores.open()
    await stores.migrate()
    graphs = Graphs({})
    made = make_core("127.0.0.1:1", stores, GatewayOptions(), CollectorRegistry(), graphs)
    await made.ensure_owner(OPERATOR, "home", "owner")
    yield made
    await stores.close()


@pytest.fixture
async def gateway(core: GatewayCore) -> AsyncIterator[str]:
    async with served(make_app(core)) as url:
        yield url


@pytest.fixture
async def public(core: GatewayCore) -> AsyncIterator[str]:
    """A gateway behind a proxy that ends TLS."""
    async with served(make_app(core, public_url=PUBLIC)) as url:
        yield url


async def link_of(core: GatewayCore) -> str:
    return await core.sessions.link(OPERATOR, "home", "owner")


async def test_every_answer_limits_what_a_browser_may_do_with_it(gateway: str) -> None:
    async with browser(gateway) as client:
        for method, path, status in (
            ("GET", "/ok", 503),
            ("GET", "/v1/docs", 200),
            ("GET", "/v1/docs/reference.js", 200),
            ("GET", "/v1/openapi.json", 200),
            ("GET", "/login?link=home.x", 403),
            ("GET", "/login", 422),
            ("GET", "/v1/me", 401),
            ("GET", "/nowhere", 401),
            ("GET", "/auth/nobody/x/login", 404),
            ("DELETE", "/login", 405),
            ("OPTIONS", "/v1/threads", 405),
            ("GET", "/ok?" + "x" * 40_000, 431),
            ("POST", "/lg/threads", 401),
        ):
            answer = await client.request(method, path)
            assert answer.status_code == status, answer.text
            assert {n: answer.headers.get_list(n) for n in SAFE} == {n: [value] for n, value in SAFE.items()}, path


async def test_the_second_port_and_health_pages_have_the_headers_too(core: GatewayCore) -> None:
    health = HealthServer(Health(), CollectorRegistry())
    await health.start()
    try:
        async with served(make_app(core).state.langgraph_alone()) as alone:
            pages = [(alone, path) for path in ("/ok", "/threads", "/nowhere")]
            pages += [(health.address, path) for path in ("/healthz", "/readyz", "/metrics", "/nowhere")]
            for url, path in pages:
                async with browser(url) as client:
                    answer = await client.get(path)
                assert {name: answer.headers[name] for name in SAFE} == SAFE, path
    finally:
        await health.stop()


async def test_an_answer_keeps_its_own_headers_and_a_failure_has_ours() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/fails":
            raise RuntimeError("no answer")
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"Content-Security-Policy", b"default-src *")]}
        )
        await send({"type": "http.response.body", "body": b""})

    async with served(app) as url, browser(url) as client:
        own = (await client.get("/")).headers
        assert own.get_list("content-security-policy") == ["default-src *"]
        assert own["x-content-type-options"] == "nosniff"
        failed = await client.get("/fails")
        assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
        assert {name: failed.headers[name] for name in SAFE} == SAFE
        assert (await client.get("/")).status_code == 200


class _Parts(HTMLParser):
    """Collects what a page loads, and what a strict Content-Security-Policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.blocked: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loaded += [value for name in ("src", "href") if tag != "a" and (value := given.get(name))]
        self.blocked += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.blocked.append(tag)


async def test_pages_load_their_own_files_only(core: GatewayCore, gateway: str) -> None:
    async with browser(gateway) as client:
        for page in ("/v1/docs", f"/login?link={await link_of(core)}"):
            parts = _Parts()
            parts.feed((await client.get(page)).text)
            assert parts.blocked == []
            assert parts.loaded
            for path in parts.loaded:
                assert path.startswith("/")
                assert not path.startswith("//")
                answer = await client.get(path)
                assert answer.status_code == 200
                assert answer.headers["content-type"].split(";")[0] in ("text/css", "text/javascript")
                assert not re.search(r"https?://|eval\(|innerHTML|insertAdjacentHTML", answer.text)


async def test_a_page_of_another_origin_signs_nobody_in_or_out(core: GatewayCore, gateway: str) -> None:
    foreign = (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    )
    link = await link_of(core)
    async with browser(gateway) as client:
        for headers in foreign:
            refused = await client.post("/login", data={"link": link}, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "cross_site")
            assert "set-cookie" not in refused.headers
        assert (await client.post("/login", data={"link": link})).status_code == 303
        for given in ({}, *foreign, *({**headers, **OWN} for headers in foreign)):
            kept = await client.post("/auth/logout", headers=given)
            assert (kept.status_code, kept.headers.get("set-cookie")) == (403, None)
        assert (await client.get("/v1/me")).status_code == 200
        assert (await client.post("/auth/logout", headers=OWN)).status_code == 200
        assert (await client.get("/v1/me")).status_code == 401


async def test_our_own_page_signs_in_and_each_sign_in_ends_the_session_before(core: GatewayCore, gateway: str) -> None:
    async with browser(gateway, origin=gateway) as client:
        arrived = await client.post(
            "/login", data={"link": await link_of(core)}, headers={"sec-fetch-site": "same-origin"}
        )
        assert (arrived.status_code, arrived.headers["location"]) == (303, "/v1/docs")
        first = client.cookies["cauce_session"]
        await client.post("/login", data={"link": await link_of(core)})
        assert client.cookies["cauce_session"] != first
        assert (await client.get("/v1/me")).status_code == 200
        client.cookies.set("cauce_session", first)
        async with browser(gateway, cookie=f"cauce_session={first}") as before:
            assert (await before.get("/v1/me")).status_code == 401


async def test_the_page_of_a_link_names_whom_it_signs_in_as(core: GatewayCore, gateway: str) -> None:
    link = await link_of(core)
    async with browser(gateway) as client:
        for _ in range(2):
            shown = await client.get("/login", params={"link": link})
            assert "<strong>owner</strong> of <strong>home</strong>" in shown.text
        await client.post("/login", data={"link": link})
        assert (await client.get("/login", params={"link": link})).json()["code"] == "link_used"


async def test_a_reader_that_cancels_a_run_by_leaving_is_a_change(core: GatewayCore, gateway: str) -> None:
    async with browser(gateway) as client:
        await client.post("/login", data={"link": await link_of(core)})
        path = "/v1/threads/none/runs/none/stream"
        assert (await client.get(path)).status_code == 404
        for headers in ({}, {"sec-fetch-site": "cross-site", **OWN}, {"origin": "https://evil.example", **OWN}):
            refused = await client.get(f"{path}?cancel_on_disconnect=1", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "cross_site")
        assert (await client.get(f"{path}?cancel_on_disconnect=1", headers=OWN)).status_code == 404


async def test_keys_of_programs_work_from_pages_of_other_origins(core: GatewayCore, gateway: str) -> None:
    key = (await core.keys.create(OPERATOR, "home", "owner")).text
    async with browser(gateway, origin="https://app.example") as client:
        headers = {"x-api-key": key, "sec-fetch-site": "cross-site"}
        assert (await client.patch("/v1/me", json={"name": "Me"}, headers=headers)).status_code == 200


async def test_a_cookie_that_is_no_ascii_is_nobodys(gateway: str) -> None:
    async with browser(gateway) as client:
        for cookie in ("cauce_session=\u00e9", "cauce_login=\u00e9", "cauce_session=home.\u00fc; cauce_login=\u00df"):
            headers = [(b"cookie", cookie.encode("latin-1"))]
            assert (await client.get("/v1/me", headers=headers)).status_code == 401
            answer = await client.get("/auth/home/none/callback?state=%C3%A9&code=x", headers=headers)
            assert answer.status_code == 404, "there is no such provider"


async def test_behind_a_proxy_cookies_and_redirects_follow_the_public_address(core: GatewayCore, public: str) -> None:
    link = await link_of(core)
    async with browser(public, host="cauce.example", origin=PUBLIC) as client:
        arrived = await client.post("/login", data={"link": link})
        (cookie,) = arrived.headers.get_list("set-cookie")
        assert cookie.startswith("__Host-cauce_session=home.")
        for part in ("Secure", "HttpOnly", "Path=/;", "SameSite=lax"):
            assert part in f"{cookie};"
        assert "Domain" not in cookie
        value = cookie.partition("=")[2].partition(";")[0]

        def status(**cookies: str) -> Any:
            return client.get("/v1/me", headers={"cookie": "; ".join(f"{n}={v}" for n, v in cookies.items())})

        assert (await status(**{"__Host-cauce_session": value})).status_code == 200
        assert (await status(cauce_session=value)).status_code == 401, "a sibling host could have set it"

        for origin in ("http://cauce.example", "https://cauce.example:8443", "https://evil.example", public):
            refused = await client.post("/login", data={"link": "x"}, headers={"origin": origin})
            assert refused.json()["code"] == "cross_site", origin


async def test_behind_a_proxy_browser_pages_are_at_the_public_host_only(core: GatewayCore, public: str) -> None:
    async with browser(public) as client:
        for path in ("/login?link=home.x", "/auth/home/none/login"):
            refused = await client.get(path)
            assert (refused.status_code, refused.json()["code"]) == (421, "wrong_host")
            assert PUBLIC in refused.json()["detail"]
            right = await client.get(path, headers={"host": "CAUCE.example:443"})
            assert right.status_code in (403, 404)
        assert (await client.get("/ok")).status_code == 503, "it has no Kafka here"
        key = (await core.keys.create(OPERATOR, "home", "owner")).text
        assert (await client.get("/v1/me", headers={"x-api-key": key})).status_code == 200


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (PUBLIC, True),
        (f"{PUBLIC}/", True),
        ("https://cauce.example:8443", True),
        ("http://127.0.0.1:8123", True),
        ("http://localhost:8123", True),
        ("", True),
        ("http://cauce.example", False),
        ("https://cauce.example/path", False),
        ("cauce.example", False),
    ],
)
def test_the_public_address_is_encrypted_and_has_no_path(given: str, right: bool) -> None:
    if right:
        assert GatewaySettings(public_url=given).public_url == (given.rstrip("/") or None)
    else:
        with pytest.raises(ValidationError, match="public_url"):
            GatewaySettings(public_url=given)
