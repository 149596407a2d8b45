"""Who is let in by an OpenID provider, and as which user."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.admission import check_provider, is_admitted
from core.identities import user_of_identity
from core.principal import OPERATOR, Principal
from core.refusals import Forbidden, Invalid, Missing
from core.store_core import StoreCore
from schemas import IdentityProvider, is_id
from schemas.common.secure_urls import is_secure_url

ISSUER = "https://login.example"


def provider(**settings: Any) -> IdentityProvider:
    return IdentityProvider(**{"name": "corp", "issuer": ISSUER, "client_id": "cauce", **settings})


def claims(**given: Any) -> dict[str, Any]:
    return {"iss": ISSUER, "sub": "1", "exp": time.time() + 60, **given}


MAIL = {"email": "ana@acme.example", "email_verified": True}
GOOGLE = "https://accounts.google.com"


@pytest.mark.parametrize(
    ("settings", "given", "expected"),
    [
        ({}, MAIL, False),
        ({"allow_domains": ("acme.example",)}, MAIL, True),
        ({"allow_domains": ("acme.example",)}, {**MAIL, "email": "ana@ACME.example"}, True),
        ({"allow_domains": ("acme.example",)}, {**MAIL, "email_verified": False}, False),
        ({"allow_domains": ("acme.example",)}, {**MAIL, "email_verified": "false"}, False),
        ({"allow_domains": ("acme.example",)}, {"email": "ana@acme.example"}, False),
        ({"allow_domains": ("acme.example",)}, {**MAIL, "email": "ana@evil.example@acme.example"}, False),
        ({"allow_domains": ("acme.example",)}, {**MAIL, "email": "ana@mail.acme.example"}, False),
        ({"allow_domains": ("acme.example",)}, {**MAIL, "email": ["ana@acme.example"]}, False),
        ({"allow_domains": ("acme.example",), "issuer": GOOGLE}, MAIL, False),
        ({"allow_domains": ("acme.example",), "issuer": GOOGLE}, {**MAIL, "hd": "evil.example"}, False),
        ({"allow_domains": ("acme.example",), "issuer": GOOGLE}, {**MAIL, "hd": "acme.example"}, True),
        ({"allow_domains": ("gmail.com",), "issuer": GOOGLE}, {**MAIL, "email": "ana@gmail.com"}, True),
        ({"allow_groups": ("staff",)}, {"groups": ["staff", "x"]}, True),
        ({"allow_groups": ("staff",)}, {"groups": "staff"}, True),
        ({"allow_groups": ("staff",)}, {"groups": ["staffing", None, {}]}, False),
        ({"allow_groups": ("staff",)}, {"roles": ["staff"]}, False),
        ({"allow_groups": ("staff",), "groups_claim": "roles"}, {"roles": ["staff"]}, True),
        ({"allow_groups": ("a",), "groups_claim": "realm.roles"}, {"realm": {"roles": ["a"]}}, True),
        ({"allow_groups": ("a",), "groups_claim": "https://x.example/roles"}, {"https://x.example/roles": ["a"]}, True),
        ({"allow_claims": ("tid=7",)}, {"tid": "7"}, True),
        ({"allow_claims": ("tid=7",)}, {"tid": 7}, True),
        ({"allow_claims": ("tid=7",)}, {"tid": "77"}, False),
        ({"allow_claims": ("staff=true",)}, {"staff": True}, True),
        ({"allow_claims": ("tid=None",)}, {}, False),
        ({"allow_claims": ("tid=7", "tid=8")}, {"tid": "8"}, True),
    ],
)
def test_a_provider_admits_by_its_rules_and_nobody_without(settings: Any, given: Any, expected: bool) -> None:
    assert is_admitted(provider(**settings), claims(**given)) is expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"issuer": "http://login.example"}, "https://"),
        ({"issuer": "http://127.0.0.1.evil.example"}, "https://"),
        ({"audience": "cauce"}, "client id"),
        ({"scopes": ("read", "admin")}, "admin"),
        ({"allow_domains": ("@acme.example",)}, "domain"),
        ({"allow_domains": ("*.acme.example",)}, "domain"),
        ({"allow_claims": ("tid",)}, "CLAIM=VALUE"),
    ],
)
def test_a_provider_that_would_admit_whom_nobody_means_is_refused(settings: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        check_provider(provider(**settings))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/x", True),
        ("http://127.0.0.1:8/x", True),
        ("http://[::1]:8", True),
        ("http://localhost", True),
        ("http://a.example", False),
        ("http://10.0.0.1", False),
        ("http://localhost.a.example", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("http://[", False),
        (None, False),
    ],
)
def test_secrets_are_sent_encrypted_or_to_this_machine(url: object, expected: bool) -> None:
    assert is_secure_url(url) is expected


@given(st.text(min_size=1, max_size=255), st.text(min_size=1, max_size=255))
def test_the_user_of_an_identity_is_an_id_and_no_other_identitys(one: str, other: str) -> None:
    made = user_of_identity(ISSUER, "sub", one)
    assert is_id(made)
    assert made == user_of_identity(ISSUER, "sub", one)
    assert made not in (
        one,
        user_of_identity("https://other.example", "sub", one),
        user_of_identity(ISSUER, "email", one),
    )
    assert (made == user_of_identity(ISSUER, "sub", other)) is (one == other)


async def admitted(core: StoreCore, trusted: IdentityProvider, **given: Any) -> Principal:
    return await core.providers.admit("acme", trusted, claims(**given), kind="token")


async def test_a_name_at_a_provider_is_not_the_user_of_a_key_of_that_name(core: StoreCore) -> None:
    trusted = provider(user_claim="preferred_username", allow_claims=(f"iss={ISSUER}",), scopes=("read",))
    found = await admitted(core, trusted, preferred_username="owner", name="The Owner")
    assert found.user_id != "owner"
    assert (found.tenant_id, found.scopes) == ("acme", {"read"})
    (seen,) = await core.users.all(OPERATOR, "acme")
    assert (seen.user_id, seen.name) == (found.user_id, "The Owner")


async def test_an_identity_is_admitted_by_a_link_as_the_user_that_it_names(core: StoreCore) -> None:
    trusted = provider()
    await core.tenants.put_provider(OPERATOR, "acme", trusted)
    with pytest.raises(Forbidden, match=r"cauce user link acme USER --provider corp") as refused:
        await admitted(core, trusted, sub="nobody")
    assert refused.value.code == "not_admitted"
    assert await core.users.all(OPERATOR, "acme") == []

    link = await core.identities.link(OPERATOR, "acme", "ana", provider_name="corp", subject="123")
    assert (await admitted(core, trusted, sub="123")).user_id == "ana"
    assert [u.user_id for u in await core.users.all(OPERATOR, "acme")] == ["ana"]
    assert await core.identities.all(OPERATOR, "acme") == [link]
    for elsewhere in (provider(issuer="https://other.example"), provider(user_claim="oid")):
        with pytest.raises(Forbidden):
            await admitted(core, elsewhere, sub="123", oid="456")

    await core.identities.unlink(OPERATOR, "acme", link.link_id)
    with pytest.raises(Missing):
        await core.identities.unlink(OPERATOR, "acme", link.link_id)
    with pytest.raises(Missing):
        await core.identities.link(OPERATOR, "acme", "ana", provider_name="none", subject="123")


@pytest.mark.parametrize("subject", ["", None, 7, ["a"], "a\x1fb", "a\nb", "x" * 256])
async def test_a_claim_that_names_nobody_is_refused(core: StoreCore, subject: Any) -> None:
    with pytest.raises(Forbidden, match="names a user"):
        await admitted(core, provider(allow_claims=(f"iss={ISSUER}",)), sub=subject)
