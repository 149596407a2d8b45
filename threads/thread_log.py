"""What a thread gains by events, beside its head: messages, the events themselves, runs that are over."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas import (
    TERMINAL_TYPES,
    MessagesRemoved,
    StoredEvent,
    StoredMessage,
    StoredRun,
    ThreadChanged,
    ThreadEvent,
    ThreadHead,
)
from threads.ended import ended_run
from threads.evolve import evolve


@dataclass(kw_only=True)
class ThreadLog:
    """Gathers what is new. `append` takes an event and gives the head after it."""

    messages: list[StoredMessage] = field(default_factory=list)
    events: list[StoredEvent] = field(default_factory=list)
    runs: list[StoredRun] = field(default_factory=list)
    remove_from: int | None = None
    """Messages with this number and above go, those that were there before the log began."""
    erased: bool = False
    """Everything goes that was there before the log began."""

    def append(self, head: ThreadHead | None, event: ThreadEvent) -> ThreadHead:
        """Takes the event that comes next in the thread; the head after it."""
        after = evolve(head, event)
        before = head or after
        self.events.append(StoredEvent(seq=event.seq, type=event.TYPE, body=event.to_bytes().decode()))
        if message := event.adds:
            self.messages.append(StoredMessage(seq=before.next_message, message=message))
        if event.TYPE in TERMINAL_TYPES:
            self.runs.append(ended_run(before, event))
        if isinstance(event, MessagesRemoved) and not event.kept and (event.message_ids or event.after is None):
            # A run's messages are the newest, and a rollback removes all of them.
            self._remove(before.run.first_message if before.run else before.next_message - len(event.message_ids))
        if isinstance(event, ThreadChanged) and event.action == "delete":
            self._remove(1)
            self.erased, self.runs, self.events = True, [], self.events[-1:]
        return after

    def _remove(self, start: int) -> None:
        self.messages = [stored for stored in self.messages if stored.seq < start]
        self.remove_from = start if self.remove_from is None else min(self.remove_from, start)
