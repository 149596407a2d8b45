"""What an event source is: what brings events from outside, each of which begins one run. It is given an inbox.

A source runs in any number of processes, and dies at any time. What it sees twice begins one run as long as it keeps these rules:

- An event has the service's own id, or one that follows from what happened; never one that is made up when it is read.
- First `begin`, and when that returned, `keep` the position behind it. A source that dies in between reads the event again and
  begins the same run. The other way round the event would be lost.
- Where `begin` raises `ServerTrouble` it is not certain that a run comes: the source goes no further, and tells the event again.
  It may simply let the error out of `run`, which is called again after a while. Where `begin` raises `core.refusals.Refused` no
  run will ever come: on with the next event.
- `run` begins at the kept position, and ends when it is cancelled: nothing that matters may be left to a `finally` block.
- For whom an event is, the source knows of its settings and of the service, never of what the event says: whoever can write a
  mail must not choose whose agent reads it.
- What an event says is text of others. It is told in the summary as what was said, with who said it, and never as an instruction.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol

from schemas import ServerTrouble
from schemas.common.recent import Backoff

if TYPE_CHECKING:
    from core.external_events import Begun, ExternalEvents, NewEvent
    from core.principal import Principal

log = logging.getLogger("cauce.sources")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a source whose `run` has ended runs again."""


class Inbox:
    """Where a source puts events, and how far it is."""

    def __init__(self, source: str, events: ExternalEvents) -> None:
        self._source, self._events = source, events

    async def begin(self, principal: Principal, event: NewEvent) -> Begun:
        """Begins the run of an event; it is certain to come when this returns. See `ExternalEvents.begin` for what is raised."""
        return await self._events.begin(principal, self._source, event)

    async def position(self, of: Principal | None = None) -> str | None:
        """The position that was kept last, of a user's account or, without one, of the source; None at the beginning."""
        return await self._events.position(self._source, of)

    async def keep(self, position: str, of: Principal | None = None) -> None:
        """Keeps a position; when this returns, whoever runs the source next begins there."""
        await self._events.keep(self._source, position, of)


class EventSource(Protocol):
    """One source. See the module's docstring for the rules."""

    @property
    def id(self) -> str:
        """The name of its connector."""
        ...

    async def run(self, inbox: Inbox) -> None:
        """Reads events and begins their runs until it is cancelled."""
        ...

    async def check(self) -> str:
        """Looks whether it works, for `cauce doctor`: what was found, in words.

        Raises `schemas.CauceError` with what is wrong and what to do about it.
        """
        ...


async def keep_running(source: EventSource, inbox: Inbox) -> None:
    """Runs a source until it is cancelled, again and again where it fails."""
    backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
    while True:
        began = time.monotonic()
        try:
            await source.run(inbox)
            log.warning("the event source %s has ended by itself; it runs again", source.id)
        except ServerTrouble as error:
            log.warning("the event source %s has to wait: %s", source.id, error)
        except Exception:
            log.exception("the event source %s failed; it runs again", source.id)
        if time.monotonic() - began > LONGEST_PAUSE:
            backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        await asyncio.sleep(backoff.next())
