"""Whom a tenant's OpenID provider admits. A provider says who somebody is; whether that person may come in is decided here: by a
rule of the provider in the tenant, or because an administrator has linked the identity (`core/identities.py`). Nobody else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from core.principal import SCOPES
from core.refusals import Invalid
from schemas import IdentityProvider
from schemas.common.secure_urls import is_secure_url

GOOGLE = ("https://accounts.google.com", "accounts.google.com")
"""Google verifies addresses of any domain for private accounts, too; only `hd` states that the domain's owner runs the account
(https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload)."""
GOOGLE_PRIVATE = ("gmail.com", "googlemail.com")
"""Domains of private accounts, which have no `hd`."""
_DOMAIN = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+")


def check_provider(provider: IdentityProvider) -> None:
    """Raises `Invalid` for settings of a provider that would admit somebody whom its administrator does not mean."""
    if not is_secure_url(provider.issuer):
        raise Invalid("invalid", f"The issuer {provider.issuer} must begin with https://, except on this machine.")
    if provider.audience == provider.client_id:
        detail = (
            "The audience of access tokens must not be the client id, which is the audience of identity tokens. Register an "
            "API of its own for Cauce at the provider, or omit the audience: then users sign in with browsers only."
        )
        raise Invalid("invalid", detail)
    if unknown := [scope for scope in provider.scopes if scope not in SCOPES]:
        raise Invalid("invalid", f"There is no scope {unknown[0]!r}; there are {', '.join(SCOPES)}.")
    for domain in provider.allow_domains:
        if not _DOMAIN.fullmatch(domain):
            raise Invalid("invalid", f"{domain!r} is not a domain; it must look like example.org, in lower case.")
    for rule in provider.allow_claims:
        name, equals, value = rule.partition("=")
        if not (name and equals and value):
            raise Invalid("invalid", f"{rule!r} must have the form CLAIM=VALUE, such as tid=72f988bf.")


def is_admitted(provider: IdentityProvider, claims: Mapping[str, Any]) -> bool:
    """Whether a rule of the provider admits whoever has these checked claims. Any one rule is enough; no rules admit nobody."""
    return (
        _domain_of(provider, claims) in provider.allow_domains
        or any(group in provider.allow_groups for group in _texts(_claim(claims, provider.groups_claim)))
        or any(_has(claims, rule) for rule in provider.allow_claims)
    )


def _domain_of(provider: IdentityProvider, claims: Mapping[str, Any]) -> str | None:
    """The domain of a verified address; None where there is none that counts."""
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str) or email.count("@") != 1:
        return None
    domain = email.partition("@")[2].lower()
    if provider.issuer in GOOGLE and domain not in GOOGLE_PRIVATE and claims.get("hd") != domain:
        return None
    return domain


def _has(claims: Mapping[str, Any], rule: str) -> bool:
    name, _, value = rule.partition("=")
    return value in _texts(_claim(claims, name))


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """A claim of this name, which may be an address; else what is at this path of dots, such as `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _texts(value: object) -> list[str]:
    """The values of a claim, which may have one or several."""
    values = value if isinstance(value, list) else [value]
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in values if isinstance(one, str | int)]
