"""Callers who have shown no valid credential: counted by their address, so that what they may ask costs nobody else anything."""

from __future__ import annotations

import hashlib
import time
from collections.abc import MutableMapping
from typing import Any

from connectors.gateway.client_address import address_key
from connectors.gateway.counters import Hit, Rate
from connectors.gateway.limits import Budgets
from schemas.common.recent import Recent

LOCAL_TIMES = 20
"""So many times as often as others may callers on this machine ask: checks of health, and programs of its user."""
TRUSTED_SECONDS = 3600.0
"""How long a credential that was valid is looked up whatever else comes from its address."""
_TRUSTED = 20_000


class Strangers:
    """Counts requests without a credential, and credentials that are not valid.

    A credential that was valid within `TRUSTED_SECONDS` is looked up always: who shares an address with somebody who guesses
    keys is not locked out.
    """

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._valid: Recent[bytes, float] = Recent(_TRUSTED)

    async def count(self, scope: MutableMapping[str, Any]) -> None:
        """Counts a request of a stranger. Raises `Refused` where there were too many."""
        await self._budgets.take(self._hit(scope, 1))

    async def before(self, scope: MutableMapping[str, Any], credential: str) -> None:
        """To be called before a credential is looked up, which costs a read of the store. Raises `Refused` where too many
        from the same address were wrong."""
        if self._valid.get(_digest(credential), float("-inf")) + TRUSTED_SECONDS < time.monotonic():
            await self._budgets.take(self._hit(scope, 0))

    def valid(self, credential: str) -> None:
        """Remembers a credential that is valid."""
        self._valid[_digest(credential)] = time.monotonic()

    def _hit(self, scope: MutableMapping[str, Any], amount: int) -> Hit:
        key, is_local = address_key(scope)
        rate = self._budgets.strangers
        return Hit("strangers", key, Rate(rate.most * LOCAL_TIMES, rate.seconds) if is_local else rate, amount)


def _digest(credential: str) -> bytes:
    return hashlib.sha256(credential.encode("utf-8", "surrogateescape")).digest()
