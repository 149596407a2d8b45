"""A thread from its events: what the journal would hold, for a store that was restored from a backup.

The events of `chat.responses` and the offsets of the inputs are committed in one transaction, so the events determine the state
that belongs to the offsets, and neither a model nor a tool is called again. Pure code.

Of hosted graphs the events contain runs, messages and pauses. The state itself (`StateRow`) is in no event and stays as the
backup has it: a graph resumes from there. Of a copy they record that it was made, not what was copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from schemas import Input, RunQueued, RunStarted, ThreadEvent, ThreadHead
from threads.evolve import ThreadLog


class Gap(Exception):
    """Events are missing between what the store has and what the topic has."""


@dataclass
class Replayed(ThreadLog):
    """The thread after some events. `head` is None before the first."""

    head: ThreadHead | None
    queueable: Mapping[str, Input] = field(default_factory=dict)
    """Inputs by their runs: events of older versions name a run, and do not repeat what it works on."""

    def apply(self, events: Iterable[ThreadEvent]) -> None:
        """Takes events in their order; those that the store has are passed over. Raises `Gap`."""
        for event in events:
            expected = self.head.next_event if self.head else 1
            if event.seq < expected:
                continue
            if event.seq > expected:
                raise Gap(f"event {event.seq} where {expected} was to come")
            known = self.queueable.get(event.run_id)
            if isinstance(event, RunQueued | RunStarted) and event.input is None and known:
                event = event.model_copy(update={"input": known})
            self.head = self.append(self.head, event).model_copy(update={"unpublished": ()})
