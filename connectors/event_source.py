"""The contract of event sources, which receive external events. Each event starts one run, through an inbox.

A source may run in any number of processes and may die at any time. An event that is read twice still starts only one run, if
the source follows these rules:

- An event has the service's own id, or one derived from the event itself; never one generated when it is read.
- Call `begin` first and, after it returns, `keep` with the position after the event. A source that dies in between reads the
  event again and starts the same run. In the opposite order the event would be lost.
- If `begin` raises `ServerTrouble`, it is not certain that the run will start: the source must not advance, and must report the
  event again. It may let the error propagate out of `run`, which is called again after a pause. If `begin` raises
  `core.refusals.Refused`, the run will never start: continue with the next event.
- `run` starts at the kept position and ends when it is cancelled. A process may also be killed, so nothing essential may depend
  on a `finally` block.
- The source determines the user of an event from its settings and from the service, never from the event's content: the sender
  of a mail must not choose whose agent reads it.
- The content of an event is untrusted text. The summary quotes it, with its author, and never presents it as an instruction.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol

from schemas import ServerTrouble
from schemas.common.recent import Backoff
from schemas.common.serving import is_order

if TYPE_CHECKING:
    from core.external_events import Begun, ExternalEvents, NewEvent
    from core.principal import Principal

log = logging.getLogger("cauce.sources")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""First and longest pause, in seconds, before a source whose `run` has ended is restarted."""


class Inbox:
    """Accepts the events of a source, and keeps its position."""

    def __init__(self, source: str, events: ExternalEvents) -> None:
        self._source, self._events = source, events

    async def begin(self, principal: Principal, event: NewEvent) -> Begun:
        """Starts the run of an event; once this returns, the run is guaranteed. Raises what `ExternalEvents.begin` raises."""
        return await self._events.begin(principal, self._source, event)

    async def position(self, of: Principal | None = None) -> str | None:
        """The position that was kept last, for a user's account or for the whole source; None at the beginning."""
        return await self._events.position(self._source, of)

    async def keep(self, position: str, of: Principal | None = None) -> None:
        """Keeps a position durably; the next process that runs the source starts there."""
        await self._events.keep(self._source, position, of)


class EventSource(Protocol):
    """An event source. See the module's docstring for the rules."""

    @property
    def id(self) -> str:
        """The name of its connector."""
        ...

    async def run(self, inbox: Inbox) -> None:
        """Reads events and starts their runs until it is cancelled."""
        ...

    async def check(self) -> str:
        """Checks for `cauce doctor` whether the source works; returns a description.

        Raises `schemas.CauceError` with the problem and what to do about it.
        """
        ...


async def keep_running(source: EventSource, inbox: Inbox) -> None:
    """Runs a source until it is cancelled, and restarts it when it fails."""
    backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
    while True:
        began = time.monotonic()
        try:
            await source.run(inbox)
            log.warning("the event source %s ended unexpectedly; restarting it", source.id)
        except ServerTrouble as error:
            log.warning("the event source %s is waiting: %s", source.id, error)
        except BaseException as error:
            if is_order(error):
                raise
            log.exception("the event source %s failed; restarting it", source.id)
        if time.monotonic() - began > LONGEST_PAUSE:
            backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        await asyncio.sleep(backoff.next())
