"""All stores of one keyspace, and the URL that names it."""

from __future__ import annotations

import re
import ssl
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from schemas import SettingsError
from state.cassandra import migrate
from state.cassandra.connecting import CassandraOptions
from state.cassandra.keyspace import Keyspace
from state.cassandra.session import Session
from state.codec import Codec
from state.stores import Stores

_PING_SECONDS = 2.0
_KEYSPACE = re.compile(r"[a-z][a-z0-9_]{0,47}")
_DC = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:]+)(?::(\d+))?")


class CassandraStores(Stores):
    """See `state.Stores`. Only `migrate` makes the keyspace and its tables."""

    def __init__(self, options: CassandraOptions, *, codec: Codec | None = None) -> None:
        """`codec`: what bodies go through."""
        self.options = options
        self._session = Session(options)
        super().__init__("cassandra", Keyspace(self._session, options.input_ttl, codec=codec or Codec()))

    async def open(self) -> None:
        """See `state.Stores.open`. Raises `SettingsError` when Cassandra refuses our credentials."""
        await self._session.open()

    async def close(self) -> None:
        """See `state.Stores.close`."""
        await self._session.close()

    async def migrate(self) -> list[str]:
        """See `state.Stores.migrate`."""
        return await migrate.apply_pending(self._session)

    async def pending_migrations(self) -> list[str]:
        """See `state.Stores.pending_migrations`."""
        return await migrate.pending(self._session)

    async def ping(self) -> None:
        """See `state.Stores.ping`."""
        await self._session.ping(_PING_SECONDS)


def from_url(url: str, *, codec: Codec | None = None, **options: Any) -> CassandraStores:
    """Stores of a URL such as `cassandra://user:password@host1,host2:9042/keyspace?rf=3&dc=name`.

    Options are the fields of `CassandraOptions` from `dc` on. User name and password are percent-encoded where they
    have characters that mean something in a URL. Raises `SettingsError`.
    """
    parts = urlsplit(url)
    credentials, _, netloc = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    hosts, port = _hosts(netloc)
    keyspace = parts.path.strip("/")
    if not _KEYSPACE.fullmatch(keyspace):
        raise SettingsError(
            f"{keyspace!r} in the state URL is no keyspace: lower-case letters, digits and _ it may have, 48 at most. "
            "Write cassandra://host:9042/keyspace."
        )
    if credentials:
        options = {"username": unquote(username), "password": unquote(password), **options}
    checked = _checked({**dict(parse_qsl(parts.query)), **options})
    return CassandraStores(CassandraOptions(hosts=hosts, port=port, keyspace=keyspace, **checked), codec=codec)


def _hosts(netloc: str) -> tuple[tuple[str, ...], int]:
    matches = [_HOST.fullmatch(host) for host in netloc.split(",")]
    if not all(matches):
        raise SettingsError(f"{netloc!r} in the state URL is no list of hosts. Write host1,host2:9042.")
    found = [match.groups() for match in matches if match]
    ports = {int(port) for _, port in found if port}
    if len(ports) > 1:
        raise SettingsError("the hosts of the state URL have different ports; all nodes must use the same one.")
    return tuple(host.strip("[]") for host, _ in found), (ports.pop() if ports else 9042)


def _tls(given: Any) -> ssl.SSLContext:
    if not isinstance(given, ssl.SSLContext):
        raise SettingsError("TLS cannot be asked for in the state URL; set cassandra_tls")
    return given


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    kinds: dict[str, Any] = {
        "dc": str,
        "rf": int,
        "request_timeout": float,
        "in_flight": int,
        "input_ttl": float,
        "username": str,
        "password": str,
        "tls": _tls,
    }
    if unknown := sorted(options.keys() - kinds.keys()):
        raise SettingsError(f"Cassandra state has no option {unknown[0]!r}; it has {', '.join(sorted(kinds))}.")
    try:
        checked = {name: kinds[name](value) for name, value in options.items() if value is not None}
    except ValueError as error:
        raise SettingsError(f"an option of the Cassandra state URL is not a number: {error}") from error
    for name in ("rf", "in_flight", "request_timeout", "input_ttl"):
        if checked.get(name, 1) <= 0:
            raise SettingsError(f"{name} is {checked[name]}; it must be above 0.")
    if "dc" in checked and not _DC.fullmatch(checked["dc"]):
        raise SettingsError(f"{checked['dc']!r} is no name of a data centre.")
    return checked
