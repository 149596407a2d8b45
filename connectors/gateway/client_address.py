"""Where a request is from: the address of the connection, or what proxies that the operator trusts say of it."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from schemas import SettingsError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Scope = MutableMapping[str, Any]

_MOST_HOPS = 20
"""Proxies between a client and us that are looked at."""


def networks(text: str | None) -> tuple[Network, ...]:
    """Networks from a text with commas, such as `10.0.0.0/8, ::1`. Raises `SettingsError`."""
    try:
        return tuple(ip_network(part.strip(), strict=False) for part in (text or "").split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(
            f"{text!r} is no list of networks (CAUCE_GATEWAY_TRUSTED_PROXIES): {error}. Write such as 10.0.0.0/8, ::1"
        ) from error


class TrustedProxies:
    """ASGI middleware: where the connection is from a trusted proxy, takes `client` and `scheme` of the scope from its headers.

    `X-Forwarded-For` is read from the right, as each proxy adds the address it was called from: the first that is no trusted
    proxy's is the client, and what is left of it the client may have made up. `X-Forwarded-Proto` is taken from this machine,
    too, where it can only make cookies stricter.
    """

    def __init__(self, app: Any, *, trusted: Sequence[Network] = ()) -> None:
        self._app, self._trusted = app, trusted

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Passes everything on."""
        if scope["type"] in ("http", "websocket"):
            peer = _address((scope.get("client") or ("",))[0])
            is_trusted = peer is not None and self._trusts(peer)
            if is_trusted or (peer is not None and peer.is_loopback):
                protocol = _last(scope, b"x-forwarded-proto")
                if protocol in ("https", "wss", "http", "ws"):
                    secure = protocol in ("https", "wss")
                    plain = "ws" if scope["type"] == "websocket" else "http"
                    scope["scheme"] = f"{plain}s" if secure else plain
            if peer is not None and is_trusted:
                scope["client"] = (str(self._client(peer, scope)), 0)
        await self._app(scope, receive, send)

    def _trusts(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)

    def _client(self, peer: Address, scope: Scope) -> Address:
        values = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        found = peer
        for hop in reversed(values.decode("latin-1").split(",")[-_MOST_HOPS:]):
            given = _address(hop)
            if given is None:  # not written by a proxy
                return found
            found = given
            if not self._trusts(found):
                return found
        return found


def address_key(scope: Scope) -> tuple[str, bool]:
    """What the requests of a client are counted under, and whether it is on this machine. An IPv6 client has a network of 64
    bits to itself (RFC 6177), so it is counted as one."""
    address = _address((scope.get("client") or ("",))[0])
    if address is None:
        return "unknown", False
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False).network_address), address.is_loopback
    return str(address), address.is_loopback


def _address(text: str) -> Address | None:
    """An address, also with a port or in brackets; IPv4 in IPv6 as IPv4."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _last(scope: Scope, name: bytes) -> str:
    values: Iterable[bytes] = (value for key, value in scope["headers"] if key == name)
    return b",".join(values).decode("latin-1").rpartition(",")[2].strip().lower()
