"""What `cauce doctor` finds about doors: who may read the files, and whether the servers are used in the clear."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from cauce.settings import Settings, variables
from connectors.arcade import ArcadeSettings
from schemas import SettingsError
from schemas.common.private_files import open_for_others
from schemas.common.server_access import ServerAccess

Weakness = tuple[Literal["warning", "problem"], str]

SHORT = 12
"""Characters of a password that can be guessed where nothing slows guessing down."""
USUAL = frozenset({"cassandra", "kafka", "redis", "admin", "cauce", "password", "secret", "changeit"})
FILES = 20_000
"""Files of the data folder that are looked at, at most."""


def weaknesses(settings: Settings) -> list[Weakness]:
    """What could be used by others, and what to do about it. The worst come first."""
    found = [*_files(settings), *_data(settings.data), *_servers(settings), *_gateway(settings)]
    return sorted(found, key=lambda one: one[0] != "problem")


def addresses_of_folder(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """By setting: addresses elsewhere that get a key, and stand in the file of the working directory alone.

    A folder from somebody else can have such a file; the key that is sent there is the user's own.
    """
    given = {"arcade_url": settings.of(ArcadeSettings).url, "model_url": settings.model_url}
    elsewhere = {name: url for name, url in given.items() if url and not is_loopback(urlsplit(url).hostname or "")}
    usual = {"arcade_url": ArcadeSettings().url}
    return {
        name: url
        for name, url in elsewhere.items()
        if settings.file and url != usual.get(name) and not any(environment.get(v) for v in variables()[name])
    }


def _files(settings: Settings) -> Iterator[Weakness]:
    gateway = settings.gateway
    secret = {"gateway_key_file": gateway.key_file or gateway.cert_file}
    for access in _accesses(settings).values():
        secret[f"{access.PREFIX}_password_file"] = access.password_file
        secret[f"{access.PREFIX}_key_file"] = access.key_file or access.cert_file
        if access.password and settings.file and _open(settings.file):
            yield (
                "problem",
                f"{settings.file} may have passwords and can be read by other users; chmod 600 {settings.file}",
            )
    for name, path in secret.items():
        if path and _open(path):
            yield "problem", f"{name} {path} can be read by other users of this machine; chmod 600 {path}"


def _data(folder: Path) -> Iterator[Weakness]:
    """The folder itself is a finding of its own; below it others may do nothing either."""
    for number, (place, _, names) in enumerate(os.walk(folder)):
        if number + len(names) > FILES:
            return
        if found := next((name for name in names if _open(Path(place) / name)), None):
            yield (
                "warning",
                f"{str(Path(place) / found)!r} is open for other users; chmod -R go= {folder}",
            )
            return


def _servers(settings: Settings) -> Iterator[Weakness]:
    for title, access in _accesses(settings).items():
        name = access.PREFIX
        hosts = _hosts(getattr(settings, name) or "")
        if not hosts:
            continue
        far = [host for host in hosts if not is_loopback(host)]
        tls = access.tls or (settings.redis or "").startswith("rediss://")
        if far and not tls:
            yield "warning", f"{title} at {far[0]} is used in the clear; set {name}_tls"
        try:
            password = access.secret()
        except SettingsError as error:
            yield "problem", str(error)
            continue
        if far and not password and not access.cert_file and "@" not in (settings.redis or ""):
            yield "warning", f"{title} at {far[0]} is used without a password; set {name}_user and {name}_password_file"
        if password and (password.lower() in USUAL or password == access.user):
            yield "problem", f"the password of {title} is one that everybody tries first; change it"
        elif password and len(password) < SHORT:
            yield "warning", f"the password of {title} has fewer than {SHORT} characters; take a random one"
        if getattr(access, "mechanism", "") == "PLAIN" and far and not tls:
            yield "problem", f"PLAIN sends the password to {title} in the clear; set {name}_mechanism or {name}_tls"


def _gateway(settings: Settings) -> Iterator[Weakness]:
    if not settings.gateway.cert_file and not is_loopback(settings.gateway.host):
        yield (
            "warning",
            f"the gateway listens on {settings.gateway.host} without TLS; set gateway_cert_file, or put a proxy in front",
        )


def _accesses(settings: Settings) -> dict[str, ServerAccess]:
    return {
        "Kafka": settings.kafka_access,
        "Cassandra": settings.cassandra_access,
        "Redis": settings.redis_access,
    }


def _hosts(addresses: str) -> list[str]:
    if "://" in addresses:
        return [host] if (host := urlsplit(addresses).hostname) else []
    return [address.rpartition(":")[0].strip("[]") for address in addresses.split(",") if address]


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _open(path: Path) -> bool:
    try:
        return not path.is_socket() and open_for_others(path)
    except OSError:
        return False
