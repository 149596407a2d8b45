"""Keys of the installation: its gateways share them, so that one can read what another has sealed into a browser's cookie."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from cryptography.fernet import Fernet, InvalidToken

from schemas import SYSTEM_TENANT
from schemas.common.clock import utc_now
from schemas.ids import new_id
from state import Credentials

KIND = "installation_key"
LIFETIME = timedelta(days=60)
NEW_AFTER = timedelta(days=30)
"""When a key is this old the next one is made; both are good until the older one's end."""
AGAIN_SECONDS = 5.0
"""What no known key opens makes us look for newer ones, this often at most."""
KNOWN_SECONDS = 3600.0


class InstallationKeys:
    """Seals small values: nobody else can read, change or make them (Fernet: AES-128 and HMAC-SHA256, with the time)."""

    def __init__(self, store: Credentials, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._keys: list[Fernet] = []
        self._looked = float("-inf")

    async def seal(self, value: bytes) -> str:
        """The sealed value, as a text of letters, digits, `-`, `_` and `=`."""
        if not self._keys or self._clock() - self._looked > KNOWN_SECONDS:
            await self._look(create=True)
        return self._keys[0].encrypt(value).decode()

    async def open(self, sealed: str, *, lifetime: timedelta) -> bytes | None:
        """What was sealed at most `lifetime` ago in this installation; None for anything else."""
        found = self._try(sealed, lifetime)
        if found is None and self._clock() - self._looked > AGAIN_SECONDS:
            await self._look(create=False)
            found = self._try(sealed, lifetime)
        return found

    def _try(self, sealed: str, lifetime: timedelta) -> bytes | None:
        for key in self._keys:
            try:
                return key.decrypt(sealed.encode(), ttl=int(lifetime.total_seconds()))
            except InvalidToken:
                continue
        return None

    async def _look(self, *, create: bool) -> None:
        rows = await self._store.list(SYSTEM_TENANT, KIND)
        newest = max((key_id for key_id, _ in rows), default="")
        if create and (not newest or made_before(newest, NEW_AFTER)):
            # Gateways that start at the same moment make one each: all of them are good, the newest seals.
            key_id = new_id("k")
            await self._store.put(SYSTEM_TENANT, KIND, key_id, Fernet.generate_key(), expires=utc_now() + LIFETIME)
            rows = await self._store.list(SYSTEM_TENANT, KIND)
        self._keys = [Fernet(body) for _, body in sorted(rows, reverse=True)]
        self._looked = self._clock()


def made_before(key_id: str, age: timedelta) -> bool:
    """Whether an id of `new_id` is older than this."""
    made = int(key_id.partition("_")[2][:12], 16) / 1000
    return utc_now().timestamp() - made > age.total_seconds()
