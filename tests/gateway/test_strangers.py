"""Callers without a valid credential are limited by their address, and take nothing from those who have one."""

from __future__ import annotations

import httpx
import pytest
from door import Door, Gateway

LIMIT = 10
"""Of the gateway `strict`."""


def _from(address: str, gateway: Gateway, **headers: str) -> httpx.Client:
    return httpx.Client(
        base_url=gateway.url,
        headers={"x-forwarded-for": f"6.6.6.6, {address}", **headers},
        trust_env=False,
        timeout=120,
    )


OPEN = [
    ("GET", "/ok", 200),
    ("GET", "/login", 200),
    ("POST", "/login", 403),
    ("GET", "/auth/home/nobody/login", 404),
    ("GET", "/auth/home/nobody/callback", 404),
    ("GET", "/v1/openapi.json", 200),
    ("GET", "/lg/ok", 200),
    ("GET", "/v1/me", 401),
    ("POST", "/agui", 401),
]


@pytest.mark.parametrize(("method", "path", "answer"), OPEN)
def test_requests_without_a_credential_are_limited_by_their_address(
    method: str, path: str, answer: int, strict: Gateway
) -> None:
    address = f"203.0.113.{OPEN.index((method, path, answer)) + 1}"
    with _from(address, strict) as client:
        told = [client.request(method, path) for _ in range(LIMIT + 2)]
    assert {r.status_code for r in told[LIMIT:]} == {429}, [r.status_code for r in told]
    assert {r.status_code < 500 and r.status_code != 429 for r in told[:LIMIT]} == {True}
    assert told[0].status_code == answer or path.startswith(("/auth/", "/login")), told[0].text
    assert told[-1].json()["code"] == "rate_limited"
    assert int(told[-1].headers["retry-after"]) > 0
    with _from("198.51.100.7", strict) as other:
        assert other.request(method, path).status_code != 429


@pytest.mark.parametrize("kind", ["key", "session", "token"])
def test_wrong_credentials_use_up_the_address_and_lock_out_nobody_who_has_one(
    kind: str, embedded: Door, strict: Gateway
) -> None:
    address = {"key": "192.0.2.1", "session": "192.0.2.2", "token": "192.0.2.3"}[kind]
    key = embedded.key(embedded.tenant(), "ana")
    with _from(address, strict) as client:
        assert client.get("/v1/me", headers={"x-api-key": key}).status_code == 200
        wrong = [
            {
                "key": {"x-api-key": f"{key[:-4]}{n:04}"},
                "session": {"cookie": f"cauce_session=home.{n}"},
                "token": {"authorization": f"Bearer a.b.{n}"},
            }[kind]
            for n in range(LIMIT + 3)
        ]
        told = [client.get("/v1/me", headers=headers).status_code for headers in wrong]
        assert told == [401] * LIMIT + [429] * 3
        assert client.get("/v1/me", headers={"x-api-key": key}).status_code == 200
