"""What is done when the answer of a conditional write is lost: look, and only then decide.

The answer of a conditional write can be lost on the way, or be that the server itself does not know. A read at
LOCAL_SERIAL finishes what was left half done and sees what was decided. When it shows that the write did not happen,
the write is tried again, which its condition makes safe: if the first one comes into effect after all, the second is
refused, and the next look sees the first.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from schemas import OutcomeUnknown, ServerTrouble
from schemas.common.recent import Backoff, pause_after

_ROUNDS = 6
_PATIENCE = 6.0  # seconds that looking is tried for: a server that restarts takes longer, a reconnection does not
_LONGEST_WAIT = 0.5

Result = TypeVar("Result")


async def decided(
    write: Callable[[], Awaitable[Result]], look: Callable[[], Awaitable[Result | None]], *, patience: float = _PATIENCE
) -> Result:
    """What `write` returns, or what `look` finds that it came to; None from `look` means that it did not happen.

    Raises `OutcomeUnknown` when looking fails for `patience` seconds or when every try is lost, and whatever else
    `write` raises.
    """
    for tried in range(1, _ROUNDS + 1):
        try:
            return await write()
        except OutcomeUnknown as error:
            found = await _look(look, error, patience)
            if found is not None:
                return found
            if tried == _ROUNDS:
                raise
        # Writers that contend for one row must not come back in step.
        await asyncio.sleep(random.uniform(0, pause_after(tried, 0.1, 2)))
    raise AssertionError("unreachable")


async def _look(look: Callable[[], Awaitable[Result | None]], lost: OutcomeUnknown, patience: float) -> Result | None:
    deadline, backoff = time.monotonic() + patience, Backoff(0.05, _LONGEST_WAIT)
    while True:
        try:
            return await look()
        except ServerTrouble as error:
            wait = backoff.next()
            if time.monotonic() + wait > deadline:
                raise OutcomeUnknown(f"{lost} Looking whether it was done failed too: {error}") from lost
        await asyncio.sleep(wait)
